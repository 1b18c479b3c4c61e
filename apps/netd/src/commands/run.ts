import { type CommandIo, printJson, printMessage } from '../command-line/command-io.ts'
import { ExitCode } from '../command-line/exit-code.ts'
import type { RunArguments } from '../command-line/run-arguments.ts'
import { formatLocator } from '../locator.ts'
import { offloadFeatures } from '../session/offload-features.ts'
import { eventText, type SessionEvent } from '../session/session-event.ts'
import { serveSession } from '../session/serve-session.ts'
import { SessionWorker } from '../worker/session-worker.ts'

/**
 * `netd run`: gives a device to the OS as a TAP interface until a signal comes or the device goes.
 * @returns the exit code; errors of the start are thrown
 */
export async function run(args: RunArguments, io: CommandIo): Promise<number> {
  const report = (event: SessionEvent): void => {
    if (args.json) void printJson(io, event)
    else printMessage(io, eventText(event))
  }
  const options = {
    locator: formatLocator(args.locator),
    tap: args.tap,
    withoutFeatures: [...args.features, ...(args.noOffload ? offloadFeatures : [])],
    poll: args.poll,
    ...(args.mac === undefined ? {} : { mac: args.mac }),
    ...(args.mtu === undefined ? {} : { mtu: args.mtu }),
  }
  const session = await SessionWorker.open({ kind: 'tap', options }, report, io.signal)
  let failure: Error | undefined
  try {
    const services = await serveSession(session, args, io)
    try {
      failure = await Promise.race([session.ended, aborted(io.signal)])
    } finally {
      await services.close()
    }
  } finally {
    await session.stop().catch((error: Error) => {
      failure ??= error
    })
  }
  report({ event: 'stopped', reason: failure ? failure.message : String(io.signal.reason) })
  if (failure === undefined) return ExitCode.OK
  throw failure
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined)
    else signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
}
