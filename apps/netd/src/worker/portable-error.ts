import { CommandError } from '@virtio-ts/command-line'

/** An error of any layer as plain data: what the report and the exit code are made of. A clone would lose codes and classes. */
export interface PortableError {
  readonly name: string
  readonly message: string
  readonly code?: string
  readonly stack?: string
  /** Of a `CommandError`. */
  readonly why?: readonly string[]
  readonly fix?: string
  readonly cause?: PortableError
}

const maxCauses = 8

/** What `revivedError` makes an error of again, in another thread. */
export function portableError(error: unknown, depth = 0): PortableError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) }
  const { name, message, stack, cause } = error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  return {
    name,
    message,
    ...(code === undefined ? {} : { code }),
    ...(stack === undefined ? {} : { stack }),
    ...(error instanceof CommandError
      ? { why: error.why, ...(error.fix === undefined ? {} : { fix: error.fix }) }
      : {}),
    ...(cause === undefined || cause === null || depth >= maxCauses ? {} : { cause: portableError(cause, depth + 1) }),
  }
}

/** A `CommandError` is one again; any other error keeps its name, code, stack and causes. */
export function revivedError(portable: PortableError): Error {
  const { name, message, code, stack, why, fix } = portable
  const cause = portable.cause === undefined ? undefined : revivedError(portable.cause)
  if (why !== undefined && code !== undefined)
    return new CommandError(code, message, { why, ...(fix === undefined ? {} : { fix }), ...(cause ? { cause } : {}) })
  const error = new Error(message, cause === undefined ? undefined : { cause })
  error.name = name
  if (stack !== undefined) error.stack = stack
  return code === undefined ? error : Object.assign(error, { code })
}
