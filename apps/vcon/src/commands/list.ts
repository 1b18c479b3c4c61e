import { type CommandIo, ExitCode, printable, printJson, printLine, renderTable } from '@virtio-ts/command-line'
import type { Locator } from '@virtio-ts/device-locator'
import { openConsole } from '../session/console-session.ts'

export interface ListOptions {
  readonly locator: Locator
  readonly json: boolean
}

/** `vcon list`: the ports a device has. @returns the exit code */
export async function list({ locator, json }: ListOptions, io: CommandIo): Promise<number> {
  const session = await openConsole(locator, io.signal)
  try {
    const ports = session.driver.ports.map(({ id, name, isConsole, hostConnected, size }) => ({
      port: id,
      name: name ?? null,
      console: isConsole,
      connected: hostConnected,
      size: size ?? null,
    }))
    if (json) await printJson(io, ports)
    else if (ports.length === 0) io.stderr.write('the device has no port\n')
    else {
      const rows = ports.map(({ port, name, console, connected, size }) => [
        String(port),
        printable(name ?? '-'),
        console ? 'console' : 'port',
        connected ? 'connected' : 'nobody there',
        size ? `${size.columns}x${size.rows}` : '-',
      ])
      await printLine(io, renderTable([['PORT', 'NAME', 'KIND', 'OTHER END', 'SIZE'], ...rows], ['right']))
    }
  } finally {
    await session.close()
  }
  return ExitCode.OK
}
