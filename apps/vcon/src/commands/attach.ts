import { type CommandIo, ExitCode, printJson } from '@virtio-ts/command-line'
import { formatLocator } from '@virtio-ts/device-locator'
import type { ConsolePort } from '@virtio-ts/driver-console'
import type { AttachArguments } from '../command-line/attach-arguments.ts'
import { type AttachEvent, eventText } from '../session/attach-event.ts'
import { choosePort } from '../session/choose-port.ts'
import { connectPort } from '../session/connect-port.ts'
import { type ConsoleSession, openConsole } from '../session/console-session.ts'
import { type LocalEnd, linkedEnd, standardEnd, type StandardStreams } from '../session/local-end.ts'

/** `vcon attach`: opens a port here until the user leaves, or it ends. @returns the exit code */
export async function attach(args: AttachArguments, io: CommandIo): Promise<number> {
  const session = await openConsole(args.locator, io.signal)
  try {
    return await attachSession(session, args, io, { stdin: process.stdin, stdout: io.stdout })
  } finally {
    await session.close()
  }
}

/** The same with a device that is open, which stays the caller's. */
export async function attachSession(
  session: ConsoleSession,
  args: AttachArguments,
  io: CommandIo,
  streams: StandardStreams,
): Promise<number> {
  const { driver, failed } = session
  const port = choosePort(driver.ports, args.port)
  const { link, escape } = args
  if (link === undefined && streams.stdin.isTTY === true) io.stderr.write(`${io.program}: ${escapeHint(escape)}\n`)
  const local = link === undefined ? standardEnd(streams, escape) : linkedEnd(link)
  const report = reporter(args, io, local)
  const stopTelling = tellChanges(port, local, report)
  try {
    report(readyEvent(session, port, args, local))
    const { reason, lost } = await connectPort({ driver, port, local, wait: args.wait, signal: io.signal, failed })
    local.close()
    if (lost !== undefined) report({ event: 'lost', bytes: lost })
    const stats = driver.stats()
    const [sent, received] = [stats['transmitted_bytes'] ?? 0, stats['received_bytes'] ?? 0]
    report({ event: 'stopped', reason, sent, received })
    return ExitCode.OK
  } finally {
    stopTelling()
    local.close()
  }
}

function escapeHint(escape: number | undefined): string {
  return escape === undefined
    ? 'nothing that is typed leaves; SIGTERM does'
    : `Ctrl-${String.fromCharCode(escape + 0x40)} leaves`
}

/** Standard output is the port's, unless a terminal of its own is. */
function reporter({ link, json }: AttachArguments, io: CommandIo, local: LocalEnd): (event: AttachEvent) => void {
  return (event) => {
    if (json && link !== undefined) void printJson(io, event)
    else if (json) io.stderr.write(`${JSON.stringify(event)}${local.newline}`)
    else io.stderr.write(`${io.program}: ${eventText(event)}${local.newline}`)
  }
}

function readyEvent(
  { driver }: ConsoleSession,
  port: ConsolePort,
  args: AttachArguments,
  local: LocalEnd,
): AttachEvent {
  const { transport, vectors } = driver.describe()
  return {
    event: 'ready',
    device: formatLocator(args.locator),
    port: port.id,
    name: port.name ?? null,
    console: port.isConsole,
    connected: port.hostConnected,
    ...(local.terminal && args.link !== undefined ? { terminal: local.terminal.path, link: args.link } : {}),
    features: driver.features.names,
    transport,
    vectors,
  }
}

/** What happens to the port meanwhile. @returns a function that ends it */
function tellChanges(port: ConsolePort, local: LocalEnd, report: (event: AttachEvent) => void): () => void {
  const resized = (): void => {
    const { size } = port
    if (!size) return
    local.resize(size)
    report({ event: 'resize', columns: size.columns, rows: size.rows })
  }
  const told: readonly (readonly [name: string, listener: () => void])[] = [
    ['resize', resized],
    ['host-connected', () => report({ event: 'connected' })],
    ['host-disconnected', () => report({ event: 'disconnected' })],
  ]
  for (const [name, listener] of told) port.on(name, listener)
  local.terminal?.on('opened', () => report({ event: 'opened' }))
  local.terminal?.on('left', () => report({ event: 'left' }))
  if (port.size) local.resize(port.size)
  return () => {
    for (const [name, listener] of told) port.off(name, listener)
    local.terminal?.removeAllListeners('opened')
    local.terminal?.removeAllListeners('left')
  }
}
