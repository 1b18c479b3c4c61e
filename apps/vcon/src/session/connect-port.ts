import { CommandError } from '@virtio-ts/command-line'
import type { ConsoleDriver, ConsolePort } from '@virtio-ts/driver-console'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { LocalEnd } from './local-end.ts'

const LAST_WORDS = 2000

export interface ConnectOptions {
  readonly driver: ConsoleDriver
  readonly port: ConsolePort
  readonly local: LocalEnd
  /** Milliseconds of silence after the end of the input, where that lingers. */
  readonly wait: number
  readonly signal: AbortSignal
  /** Milliseconds that what is on its way has when it ends before its time. @defaultValue 2000 */
  readonly lastWords?: number
  /** Rejects when the device fails. */
  readonly failed: Promise<never>
}

export interface Ending {
  /** `SIGTERM`, `escape`, `end of input`, ... */
  readonly reason: string
  /** Bytes at least that the device did not take before the time was up; undefined where it took all. */
  readonly lost: number | undefined
}

/**
 * Copies in both directions, no faster than either side takes it, until the user leaves, a signal comes or the input ends; then what is on
 * its way to the device has two seconds, or after the end of a piped input as long as it takes.
 * @throws CommandError `console.port-removed`; the fault of the device; what either stream failed with
 */
export async function connectPort(options: ConnectOptions): Promise<Ending> {
  const { port, local, signal, failed } = options
  const removed = whenRemoved(options)
  const fails = Promise.race([failed, removed, whenBroken(local)])
  fails.catch(() => {})
  const stopped = whenAborted(signal)
  const ended = once(local.input, 'end').then(() => 'end of input')
  ended.catch(() => {})
  port.pipe(local.output, { end: false })
  const close = openWhileConnected(local, port)
  const escaped = local.escaped.then(() => 'escape')
  let reason = await Promise.race([fails, stopped, escaped, ended])
  const finished = new Promise<void>((resolve) => port.once('finish', resolve))
  close()
  local.release()
  if (port.hostConnected || !local.waits)
    for (let left: unknown = local.input.read(); left !== null; left = local.input.read()) port.write(left)
  port.end()
  if (reason === 'end of input' && local.lingers) {
    const taken = finished.then(() => silence(port, options.wait))
    reason = await Promise.race([fails, stopped, taken.then(() => 'end of input')])
  }
  // A signal cuts it short, unless it is the one that has ended it.
  const cut = signal.aborted ? [] : [stopped]
  await Promise.race([fails, finished, delay(options.lastWords ?? LAST_WORDS, undefined, { ref: false }), ...cut])
  return { reason, lost: port.writableFinished ? undefined : port.writableLength }
}

/**
 * Passes input on. What goes to a port where nobody is at the other end, devices throw away: the input waits for somebody, but that of a
 * person, who sees that nothing answers. @returns a function that ends it
 */
function openWhileConnected({ input, waits }: LocalEnd, port: ConsolePort): () => void {
  const open = (): void => void input.pipe(port, { end: false })
  const shut = (): void => void input.unpipe(port)
  if (!waits || port.hostConnected) open()
  if (waits) port.on('host-connected', open).on('host-disconnected', shut)
  return () => {
    port.off('host-connected', open).off('host-disconnected', shut)
    shut()
  }
}

function whenAborted(signal: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    const tell = (): void => resolve(String(signal.reason))
    if (signal.aborted) tell()
    else signal.addEventListener('abort', tell, { once: true })
  })
}

/** Rejects when the device takes the port away, after what it had said before has been heard, or has had its time. */
function whenRemoved({ driver, port }: ConnectOptions): Promise<never> {
  return new Promise((_, reject) => {
    const removed = new CommandError('console.port-removed', `port ${port.id} was taken away`, {
      why: 'the device unplugged it while it was in use',
      fix: 'plug it in again, or another one; vcon list LOCATOR shows the ports there are',
    })
    port.once('error', reject)
    driver.on('port-removed', (gone) => {
      if (gone !== port) return
      const heard = new Promise((resolve) => port.once('end', resolve))
      void Promise.race([heard, delay(LAST_WORDS, undefined, { ref: false })]).then(() => reject(removed))
    })
  })
}

/** Rejects when this side fails. */
function whenBroken({ input, output }: LocalEnd): Promise<never> {
  return new Promise((_, reject) => {
    input.once('error', reject)
    // What stdout fails with is watched for the whole program: it ends quietly when its reader has gone.
    if (output === (input as unknown)) output.once('error', reject)
  })
}

/** Resolves when a port has said nothing for so many milliseconds. */
async function silence(port: ConsolePort, wait: number): Promise<void> {
  let heard = true
  const listen = (): void => {
    heard = true
  }
  port.on('data', listen)
  while (heard) {
    heard = false
    await delay(wait, undefined, { ref: false })
    // Somebody who does not read what was said keeps the rest from being said.
    if (port.isPaused()) heard = true
  }
  port.off('data', listen)
}
