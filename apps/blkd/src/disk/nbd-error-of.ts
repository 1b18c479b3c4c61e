import { codeOf } from '@virtio-ts/command-line'
import { NbdError, type NbdErrnoName } from '@virtio-ts/nbd'

/** What a client makes of an error of the driver; what is not here is an input or output error. */
const errnos: Readonly<Record<string, NbdErrnoName>> = {
  'block.read-only': 'EPERM',
  'block.unsupported': 'EINVAL',
  'block.zone-invalid': 'EINVAL',
  'block.zone-unaligned': 'EINVAL',
  'block.zone-open-limit': 'ENOSPC',
  'block.zone-active-limit': 'ENOSPC',
  'device.closed': 'ESHUTDOWN',
}

/** @param writes whether the request needs room: beyond the end there is none */
export function nbdErrorOf(error: unknown, writes: boolean): NbdError {
  if (error instanceof NbdError) return error
  const message = error instanceof Error ? error.message : String(error)
  const code = codeOf(error) ?? ''
  if (code === 'block.out-of-range') return new NbdError(writes ? 'ENOSPC' : 'EINVAL', message, error)
  return new NbdError(errnos[code] ?? 'EIO', message, error)
}
