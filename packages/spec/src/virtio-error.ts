/** Facts that travel with an error: numbers and names only, never device-controlled text. */
export interface VirtioErrorDetails {
  /** Where the device is, e.g. `0000:00:04.0`. */
  readonly device?: string
  /** Queue index the error concerns. */
  readonly queue?: number
  /** Generation of the device (number of initialisations) in which it happened. */
  readonly generation?: number
  /** Further numbers, for logs and metrics. */
  readonly detail?: Readonly<Record<string, number | string>>
  readonly cause?: unknown
}

/**
 * The one error of this project's virtio layers. `code` is stable under semantic versioning
 * (`ring.id-range`, `features.refused`, `device.gone` ...); `message` says what happened, why, and what to do.
 * The list of codes is `docs/errors.md`.
 */
export class VirtioError extends Error {
  readonly code: string
  readonly details: VirtioErrorDetails
  /** Marks the class across copies of this package, where `instanceof` would say no. */
  readonly isVirtioError = true

  constructor(code: string, message: string, details: VirtioErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'VirtioError'
    this.code = code
    this.details = details
  }
}

/** Whether `value` is a VirtioError, also one that came from another copy of this package. */
export function isVirtioError(value: unknown): value is VirtioError {
  return typeof value === 'object' && value !== null && 'isVirtioError' in value
}
