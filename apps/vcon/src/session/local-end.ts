import type { ConsoleSize } from '@virtio-ts/driver-console'
import type { Readable, Writable } from 'node:stream'
import { EscapeFilter } from '../terminal/escape-filter.ts'
import { PtyStream } from '../terminal/pty-stream.ts'
import { RawTerminal } from '../terminal/raw-terminal.ts'
import { TerminalLink } from '../terminal/terminal-link.ts'

/** The streams of this process, as far as a port is connected to them. */
export interface StandardStreams {
  /** With the descriptor where it may be a terminal. */
  readonly stdin: Readable & { readonly fd?: number; readonly isTTY?: boolean }
  readonly stdout: Writable
}

/** What a port is connected to on this side. */
export interface LocalEnd {
  /** For the port. It ends where there is an end. */
  readonly input: Readable
  /** Of the port. */
  readonly output: Writable
  /** What ends a line of a message now: a raw terminal does not go back to the first column by itself. */
  readonly newline: string
  /** Whether somebody who leaves waits for answers that are on their way: between pipes. */
  readonly lingers: boolean
  /** Whether input waits for somebody at the other end of the port. */
  readonly waits: boolean
  /** Resolves when the user wants to leave; never, where there is nobody to want it. */
  readonly escaped: Promise<void>
  /** A terminal made for others. */
  readonly terminal?: PtyStream
  resize(size: ConsoleSize): void
  /** The user has left: keys mean again what they mean elsewhere. What the port says is still heard. Idempotent. */
  release(): void
  /** Puts everything back as it was. Idempotent; never throws. */
  close(): void
}

const never = new Promise<never>(() => {})

/** The terminal, or the pipes, of this process. @param escape the byte that leaves, on a terminal */
export function standardEnd({ stdin, stdout }: StandardStreams, escape: number | undefined): LocalEnd {
  const terminal = stdin.isTTY === true && stdin.fd !== undefined ? RawTerminal.enter(stdin.fd) : undefined
  const filter = new EscapeFilter(terminal ? escape : undefined)
  const input = stdin.pipe(filter)
  // A terminal that was hung up.
  const hungUp = (): void => void filter.end()
  stdin.once('error', hungUp)
  const release = (): void => {
    stdin.unpipe(filter)
    // It must not keep the process alive.
    stdin.pause()
    terminal?.restore()
  }
  return {
    input,
    output: stdout,
    get newline() {
      return terminal?.isRaw ? '\r\n' : '\n'
    },
    lingers: terminal === undefined,
    waits: terminal === undefined,
    escaped: filter.escaped,
    resize: () => {},
    release,
    close() {
      release()
      stdin.off('error', hungUp)
    },
  }
}

/** A new terminal, with a link to it. @throws CommandError `link.*`; SystemError when there is no terminal to be had */
export function linkedEnd(path: string): LocalEnd {
  const terminal = new PtyStream()
  try {
    const link = new TerminalLink(path, terminal.path)
    return {
      input: terminal,
      output: terminal,
      newline: '\n',
      lingers: false,
      waits: true,
      escaped: never,
      terminal,
      resize: (size) => terminal.resize(size),
      release: () => {},
      close() {
        link.remove()
        terminal.destroy()
      },
    }
  } catch (error) {
    terminal.destroy()
    throw error
  }
}
