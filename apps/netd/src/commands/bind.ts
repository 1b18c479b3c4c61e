import { type CommandIo, ExitCode, printJson, printMessage } from '@virtio-ts/command-line'
import type { TargetDriver } from '../takeover/journal-entry.ts'
import { takeOver } from '../takeover/take-over.ts'
import { type TakeoverHost, thisHost } from '../takeover/takeover-host.ts'

export interface BindArguments {
  readonly address: string
  readonly driver: TargetDriver
  readonly force: boolean
  readonly json: boolean
}

/** `netd bind`: takes a function from the kernel's driver until `netd release`. */
export async function bind(
  { address, driver, force, json }: BindArguments,
  io: CommandIo,
  host: TakeoverHost = thisHost(),
): Promise<number> {
  const taken = await takeOver(address, { driver, force, by: 'bind', purpose: 'netd bind', signal: io.signal }, host)
  // What it lets go is the lock: the binding stays.
  await taken.giveBack()
  const { entry } = taken
  const interfaces = entry?.interfaces.map(({ name }) => name) ?? []
  if (json) {
    await printJson(io, { address: taken.address, driver, formerDriver: entry?.driver ?? null, interfaces })
    return ExitCode.OK
  }
  const now = `${taken.address} is bound to ${driver === 'none' ? 'no driver' : driver}`
  if (entry === undefined) printMessage(io, `${now}, and was before: somebody else did that`)
  else {
    const before = [entry.driver ?? 'no driver', ...interfaces].join(', ')
    printMessage(io, `${now} (before: ${before}); netd release ${taken.address} gives it back`)
  }
  return ExitCode.OK
}
