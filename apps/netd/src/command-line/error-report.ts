import { ExitCode } from './exit-code.ts'
import { causesOf, codeOf, exitCodeOf } from './exit-code-of.ts'
import { NetdError } from './netd-error.ts'
import { printable } from './printable.ts'

const isBug = 'this is a bug in netd: please report it with the lines above'

/** What to do about errors of other layers, which know what happened but not what the user of this program can do. */
const fixes: Partial<Record<ExitCode, string>> = {
  [ExitCode.PERMISSION]: 'run it as root, or in a network namespace of your own: unshare -rn; netd doctor says more',
  [ExitCode.CANNOT_CREATE_TAP]: 'netd doctor',
  [ExitCode.UNAVAILABLE]: 'netd doctor',
  [ExitCode.TEMPORARY]: 'start it again; if that does not help: netd doctor',
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
  if (error instanceof NetdError) reasons.push(...error.why.map((line) => line.trimEnd()))
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
export function errorReport(error: unknown): string {
  const what = linesOf(messageOf(error).trim())[0] ?? ''
  const reasons = reasonsOf(error)
  let fix = error instanceof NetdError ? error.fix : undefined
  if (!(error instanceof NetdError)) {
    // Other layers put what to do into the message: in its own line, when it has lines.
    const mentioned = reasons.findIndex((line) => line.startsWith('fix: '))
    if (mentioned >= 0) fix = reasons.splice(mentioned, 1)[0]?.slice('fix: '.length)
    const unforeseen = codeOf(error) === undefined
    fix ??= unforeseen ? isBug : fixes[exitCodeOf(error)]
    if (unforeseen && error instanceof Error)
      reasons.push(
        ...linesOf(error.stack ?? '')
          .filter((line) => line.startsWith('at '))
          .slice(0, 6),
      )
  }
  const lines = [
    `netd: ${what}`,
    ...reasons.map((reason) => `  ${reason}`),
    ...(fix === undefined ? [] : [`  fix: ${fix}`]),
  ]
  return `${printable(lines.join('\n'))}\n`
}
