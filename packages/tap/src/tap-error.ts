import { SystemError } from '@virtio-ts/native'

export type TapErrorCode =
  /** There is no TUN/TAP device file, or it has no driver. */
  | 'tap.no-device-node'
  | 'tap.permission'
  /** Another process has the interface. */
  | 'tap.busy'
  | 'tap.name-invalid'
  /** An interface of that name exists, and is another kind. */
  | 'tap.mismatch'
  /** The kernel's idea of the virtio-net header is not ours. */
  | 'tap.header-mismatch'
  /** A combination of offloads that makes no sense. */
  | 'tap.offload-invalid'
  /** Offloads that this kernel does not have. */
  | 'tap.offload-unsupported'
  /** A MAC, MTU or queue length that the kernel does not take. */
  | 'tap.value-invalid'
  /** The interface has been deleted. */
  | 'tap.gone'
  /** Used after `close`. */
  | 'tap.closed'
  /** Anything else the kernel said; `cause` has it. */
  | 'tap.failed'

export class TapError extends Error {
  readonly code: TapErrorCode
  constructor(code: TapErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'TapError'
    this.code = code
  }
}

export function goneError(name: string): TapError {
  return new TapError(
    'tap.gone',
    `the interface ${name} is gone: somebody deleted it (\`ip link del ${name}\`?). Close this TAP and open another.`,
  )
}

/**
 * Runs `call`, and says what its failure means.
 *
 * @param what the verb for `name`, as in `set the MTU of`
 * @param meanings what is particular to this call
 */
export function explained<T>(name: string, what: string, call: () => T, meanings: TapErrorMeanings = {}): T {
  try {
    return call()
  } catch (cause) {
    if (!(cause instanceof SystemError)) throw cause
    const meaning = meanings[cause.code]
    if (meaning !== undefined) throw new TapError(meaning[0], meaning[1], { cause })
    if (cause.code === 'EBADFD' || cause.code === 'ENODEV') throw goneError(name)
    if (cause.code === 'EPERM' || cause.code === 'EACCES') {
      throw new TapError(
        'tap.permission',
        `may not ${what} ${name}: that needs CAP_NET_ADMIN in its network namespace. Run as root, ` +
          'or give the program the capability: `setcap cap_net_admin+ep`, systemd AmbientCapabilities=CAP_NET_ADMIN.',
        { cause },
      )
    }
    throw new TapError('tap.failed', `cannot ${what} ${name}: ${cause.message}`, { cause })
  }
}

/** Error name to code and message. */
export type TapErrorMeanings = Readonly<Record<string, readonly [TapErrorCode, string]>>
