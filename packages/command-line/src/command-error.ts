export interface CommandErrorDetails {
  /** Why it happened: one line each. */
  readonly why?: string | readonly string[]
  /** What to do about it: a command where there is one. */
  readonly fix?: string
  readonly cause?: unknown
}

/** The error of a program. `message` says what, `why` why, `fix` what to do; `code` is stable (`usage.unknown-option`). */
export class CommandError extends Error {
  readonly code: string
  readonly why: readonly string[]
  readonly fix: string | undefined

  constructor(code: string, message: string, details: CommandErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'CommandError'
    this.code = code
    this.why = typeof details.why === 'string' ? [details.why] : (details.why ?? [])
    this.fix = details.fix
  }
}
