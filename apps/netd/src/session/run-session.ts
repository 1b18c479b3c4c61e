import { type CommandIo, ExitCode, printJson, printMessage } from '@virtio-ts/command-line'
import { NotifySocket } from '@virtio-ts/native'
import { ServiceNotifier } from '../service/service-notifier.ts'
import { startWatchdog, watchdogInterval } from '../service/watchdog.ts'
import type { SessionRequest } from '../worker/data-plane-messages.ts'
import { SessionWorker } from '../worker/session-worker.ts'
import { type ServiceOptions, serveSession } from './serve-session.ts'
import { eventText, type SessionEvent } from './session-event.ts'

/**
 * Runs a session, and tells what happens to it, until a signal comes or it cannot go on.
 * @returns the exit code; errors of the start, and what ended the session, are thrown
 */
export async function runSession(
  request: SessionRequest,
  services: ServiceOptions & { readonly json: boolean },
  io: CommandIo,
): Promise<number> {
  const notify = NotifySocket.fromEnvironment()
  const service = new ServiceNotifier(notify)
  const report = (event: SessionEvent): void => {
    service.tell(event)
    if (services.json && event.event !== 'notice') void printJson(io, event)
    else printMessage(io, eventText(event))
  }
  const session = await SessionWorker.open(request, report, io.signal)
  let failure: Error | undefined
  // Counters are asked of every thread that moves frames.
  const stopWatchdog = startWatchdog(notify, watchdogInterval(), () => session.stats())
  try {
    const open = await serveSession(session, services, io)
    try {
      failure = await Promise.race([session.ended, aborted(io.signal)])
    } finally {
      service.stopping()
      await open.close()
    }
  } finally {
    stopWatchdog()
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
