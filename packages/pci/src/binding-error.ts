export type BindingErrorCode =
  /** No such function on this machine. */
  | 'binding.no-function'
  /** The kernel has no such driver now. */
  | 'binding.no-driver'
  /** The kernel said no; its error is the cause. */
  | 'binding.refused'
  /** The kernel took too long. */
  | 'binding.timeout'

export class BindingError extends Error {
  readonly code: BindingErrorCode
  constructor(code: BindingErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'BindingError'
    this.code = code
  }
}
