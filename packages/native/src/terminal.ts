import { ioctl } from './ioctl.ts'
import { SystemError } from './system-error.ts'

// asm-generic/ioctls.h
const TCGETS = 0x5401
const TCSETS = 0x5402
const TIOCGWINSZ = 0x5413
const TIOCSWINSZ = 0x5414

/** asm-generic/termbits.h: `struct termios` as the kernel has it. Four words of flags, the line discipline, 19 characters. */
const TERMIOS_LENGTH = 36
const flagsAt = { input: 0, output: 4, control: 8, local: 12 } as const
const CHARACTERS_AT = 17
const VTIME = 5
const VMIN = 6

/** What cfmakeraw(3) clears and sets. */
const clearedInRaw: readonly (readonly [at: number, bits: number])[] = [
  // IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
  [flagsAt.input, 0o1 | 0o2 | 0o10 | 0o40 | 0o100 | 0o200 | 0o400 | 0o2000],
  // OPOST
  [flagsAt.output, 0o1],
  // CSIZE PARENB
  [flagsAt.control, 0o60 | 0o400],
  // ISIG ICANON ECHO ECHONL IEXTEN
  [flagsAt.local, 0o1 | 0o2 | 0o10 | 0o100 | 0o100000],
]
const CS8 = 0o60

/** How a terminal behaves: what is to be put back, whatever it means. `rawModes` makes the one that matters. */
export type TerminalModes = Uint8Array

/** Size of a terminal in characters; 0 where nobody has said it. */
export interface WindowSize {
  readonly columns: number
  readonly rows: number
}

/** @returns undefined where `fd` is no terminal @throws SystemError for any other reason */
export function terminalModes(fd: number): TerminalModes | undefined {
  const modes = new Uint8Array(TERMIOS_LENGTH)
  try {
    ioctl(fd, TCGETS, modes)
  } catch (error) {
    if (error instanceof SystemError && (error.code === 'ENOTTY' || error.code === 'EINVAL')) return undefined
    throw error
  }
  return modes
}

/**
 * Changes them at once, and waits for nothing. Of a process in the background, the kernel stops it instead (SIGTTOU).
 * @param fd a terminal, or the descriptor of a `Pty`, for the terminal at its other end
 * @throws SystemError `EIO` when the terminal has been hung up; RangeError for modes that are none
 */
export function setTerminalModes(fd: number, modes: TerminalModes): void {
  if (modes.length !== TERMIOS_LENGTH) throw new RangeError(`${modes.length} bytes are no modes of a terminal`)
  ioctl(fd, TCSETS, modes)
}

/** The same modes, but raw: every byte goes through as it is, at once, in both directions, and none is echoed or a signal. */
export function rawModes(modes: TerminalModes): TerminalModes {
  const raw = modes.slice()
  const view = new DataView(raw.buffer)
  for (const [at, bits] of clearedInRaw) view.setUint32(at, view.getUint32(at, true) & ~bits, true)
  view.setUint32(flagsAt.control, view.getUint32(flagsAt.control, true) | CS8, true)
  raw[CHARACTERS_AT + VMIN] = 1
  raw[CHARACTERS_AT + VTIME] = 0
  return raw
}

/** @throws SystemError `ENOTTY` where `fd` is no terminal */
export function windowSize(fd: number): WindowSize {
  // struct winsize: rows, columns, and two that nobody fills in
  const size = new Uint16Array(4)
  ioctl(fd, TIOCGWINSZ, new Uint8Array(size.buffer))
  return { columns: size[1] ?? 0, rows: size[0] ?? 0 }
}

/** Programs in the foreground of the terminal get a SIGWINCH if it changed. @throws SystemError; RangeError beyond 65535 */
export function setWindowSize(fd: number, { columns, rows }: WindowSize): void {
  for (const value of [columns, rows])
    if (!Number.isInteger(value) || value < 0 || value > 0xffff)
      throw new RangeError(`a terminal of ${columns}x${rows}`)
  ioctl(fd, TIOCSWINSZ, new Uint8Array(Uint16Array.of(rows, columns, 0, 0).buffer))
}
