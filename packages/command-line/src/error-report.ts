import { ExitCode } from './exit-code.ts'
import { causesOf, codeOf, exitCodeOf } from './exit-code-of.ts'
import { CommandError } from './command-error.ts'
import { printable } from './printable.ts'
import type { Program } from './program.ts'

/** Whose error it is. */
type ErrorReporter = Pick<Program, 'name' | 'remedies'>

/** What to do about an error that does not say so itself. */
function remedyOf({ name, remedies }: ErrorReporter, error: unknown): string | undefined {
  if (codeOf(error) === undefined) return `this is a bug in ${name}: please report it with the lines above`
  const exitCode = exitCodeOf(error)
  return remedies?.[exitCode] ?? (exitCode === ExitCode.USAGE ? `${name} --help` : undefined)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error)
}

function linesOf(text: string): string[] {
  return text.split('\n').map((line) => line.trim())
}

/** Every further line of the message, then what caused it as far as that says something new. */
function reasonsOf(error: unknown): string[] {
  const reasons = linesOf(messageOf(error)).slice(1)
  if (error instanceof CommandError) reasons.push(...error.why.map((line) => line.trimEnd()))
  let said = [messageOf(error), ...reasons].join('\n')
  for (const cause of causesOf(error).slice(1)) {
    const reason = messageOf(cause)
    if (said.includes(reason)) continue
    said += `\n${reason}`
    reasons.push(...linesOf(reason))
  }
  return reasons
}

/**
 * The text for stderr, line feed included:
 * ```
 * netd: what
 *   why
 *   fix: what to do
 * ```
 * An error without a code was not foreseen: its stack goes with it.
 */
export function errorReport(program: ErrorReporter, error: unknown): string {
  const what = linesOf(messageOf(error).trim())[0] ?? ''
  const reasons = reasonsOf(error)
  let fix = error instanceof CommandError ? error.fix : undefined
  if (!(error instanceof CommandError)) {
    // Other layers put what to do into the message: in its own line, when it has lines.
    const mentioned = reasons.findIndex((line) => line.startsWith('fix: '))
    if (mentioned >= 0) fix = reasons.splice(mentioned, 1)[0]?.slice('fix: '.length)
    if (codeOf(error) === undefined && error instanceof Error)
      reasons.push(
        ...linesOf(error.stack ?? '')
          .filter((line) => line.startsWith('at '))
          .slice(0, 6),
      )
  }
  fix ??= remedyOf(program, error)
  const lines = [
    `${program.name}: ${what}`,
    ...reasons.map((reason) => `  ${reason}`),
    ...(fix === undefined ? [] : [`  fix: ${fix}`]),
  ]
  return `${printable(lines.join('\n'))}\n`
}
