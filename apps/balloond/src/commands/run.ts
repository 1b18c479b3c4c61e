import { type CommandIo, ExitCode, printJson, printMessage } from '@virtio-ts/command-line'
import { formatLocator, openDevice } from '@virtio-ts/device-locator'
import type { BalloondArguments } from '../command-line/balloond-arguments.ts'
import { MemoryMonitor } from '../machine/memory-monitor.ts'
import { balloonDevice } from '../session/balloon-device.ts'
import { type BalloonEvent, eventText } from '../session/balloon-event.ts'
import { BalloonSession } from '../session/balloon-session.ts'

/**
 * `balloond`: drives a balloon until a signal comes or the device goes.
 * @returns the exit code; errors of the start, and what ended the session, are thrown
 */
export async function run(args: BalloondArguments, io: CommandIo): Promise<number> {
  const { locator, json, dryRun, interval, limits, free } = args
  const report = (event: BalloonEvent): void => {
    if (json) void printJson(io, event)
    else printMessage(io, eventText(event))
  }
  // What does not need the device is found out first.
  const monitor = await MemoryMonitor.open(args)
  const device = await openDevice(balloonDevice, locator, io.signal)
  const options = { name: formatLocator(locator), limits, interval, dryRun, free }
  const session = await BalloonSession.open(device, monitor, options, report, io.signal)
  let failure: Error | undefined
  await Promise.race([session.failed, aborted(io.signal)]).catch((error: Error) => (failure = error))
  await session.stop().catch((error: Error) => (failure ??= error))
  report({ event: 'stopped', reason: failure ? failure.message : String(io.signal.reason) })
  if (failure) throw failure
  return ExitCode.OK
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
