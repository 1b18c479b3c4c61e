/**
 * Command lines: a program as data (`Program`), its dispatch, help, errors that say what, why and what to do, and exit codes. What every
 * program of this project has in common; nothing here knows a device.
 * @packageDocumentation
 */
export { claimSocket, isListening } from './claim-socket.ts'
export { CommandError, type CommandErrorDetails } from './command-error.ts'
export { type CommandIo, type ProgramIo, printJson, printLine, printMessage, writeTo } from './command-io.ts'
export type { CommandSpec, OptionSpec } from './command-spec.ts'
export { dispatch } from './dispatch.ts'
export { errorReport } from './error-report.ts'
export { ExitCode } from './exit-code.ts'
export { causesOf, codeOf, exitCodeOf } from './exit-code-of.ts'
export { invalidValue, parseNumber } from './option-values.ts'
export { packageVersion } from './package-version.ts'
export { type ParsedArguments, parseArguments } from './parse-arguments.ts'
export { hasControlCharacters, printable } from './printable.ts'
export type { Program } from './program.ts'
export { runProgram } from './run-program.ts'
export { suggestion } from './suggestion.ts'
export { renderTable } from './table.ts'
export { renderTree, type TreeNode } from './tree.ts'
