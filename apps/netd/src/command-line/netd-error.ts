export interface NetdErrorDetails {
  /** Why it happened: one line each. */
  readonly why?: string | readonly string[]
  /** What to do about it: a command where there is one. */
  readonly fix?: string
  readonly cause?: unknown
}

/** The error of this program. `message` says what, `why` why, `fix` what to do; `code` is stable (`usage.unknown-option`). */
export class NetdError extends Error {
  readonly code: string
  readonly why: readonly string[]
  readonly fix: string | undefined

  constructor(code: string, message: string, details: NetdErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'NetdError'
    this.code = code
    this.why = typeof details.why === 'string' ? [details.why] : (details.why ?? [])
    this.fix = details.fix
  }
}
