/** What a request can fail with; the numbers are the protocol's. */
export const NbdErrno = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const

export type NbdErrnoName = keyof typeof NbdErrno

/** A failure as a client is told it: with `code`, and `message` for its user where it negotiated structured replies. */
export class NbdError extends Error {
  readonly code: NbdErrnoName

  constructor(code: NbdErrnoName, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'NbdError'
    this.code = code
  }
}
