import type { Writable } from 'node:stream'

/** What a program may touch of the process it runs in. */
export interface ProgramIo {
  /** Data. */
  readonly stdout: Writable
  /** Messages. */
  readonly stderr: Writable
  /**
   * Aborted at the first SIGINT, SIGTERM or SIGHUP (`reason` is the signal's name) and when nobody reads stdout any more
   * (`reason` is `'EPIPE'`): stop in order, then return.
   */
  readonly signal: AbortSignal
  /** Whether stdout is to be coloured. */
  readonly color: boolean
}

/** Everything a command may touch of the process it runs in. */
export interface CommandIo extends ProgramIo {
  /** The name of its program, for messages. */
  readonly program: string
}

/** Writes one line to stdout. Resolves when the stream takes more, so that a slow reader slows the command down. */
export function printLine(io: CommandIo, line: string): Promise<void> {
  return writeTo(io.stdout, `${line}\n`)
}

/** Writes `value` as one line of JSON to stdout. */
export function printJson(io: CommandIo, value: unknown): Promise<void> {
  return printLine(io, JSON.stringify(value))
}

/** Writes one line to stderr. */
export function printMessage(io: CommandIo, message: string): void {
  io.stderr.write(`${io.program}: ${message}\n`)
}

/** Writes to a stream and waits until it takes more. Resolves also when it fails, which its error event reports. */
export function writeTo(stream: Writable, data: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed || stream.write(data)) return resolve()
    const done = () => {
      stream.off('drain', done)
      stream.off('close', done)
      stream.off('error', done)
      resolve()
    }
    stream.on('drain', done)
    stream.on('close', done)
    stream.on('error', done)
  })
}
