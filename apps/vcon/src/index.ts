/**
 * The parts of vcon that other programs can use: this terminal in raw mode, and a new one as a stream. The program itself is `bin/vcon.js`.
 * @packageDocumentation
 */
export { PtyStream } from './terminal/pty-stream.ts'
export { RawTerminal } from './terminal/raw-terminal.ts'
export { TerminalLink } from './terminal/terminal-link.ts'
