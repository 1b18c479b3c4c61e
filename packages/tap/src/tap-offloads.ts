import { TunOffload } from './if-tun.ts'
import { TapError } from './tap-error.ts'

/**
 * Work on frames that the kernel may leave to whoever reads the TAP: the header before each frame says what is to be
 * done. All are off when left out. Turn on what the virtio device does for its driver, and no more: a device that fills
 * in no checksums would send what the kernel left open, and TCP would hang.
 */
export interface TapOffloads {
  /** Frames may come without their checksum: VIRTIO_NET_F_CSUM. Every other offload needs it. */
  readonly checksum?: boolean
  /** TCP over IPv4 may come in segments of up to 64 KiB: VIRTIO_NET_F_HOST_TSO4. */
  readonly tso4?: boolean
  /** TCP over IPv6: VIRTIO_NET_F_HOST_TSO6. */
  readonly tso6?: boolean
  /** Such segments may have ECN's CWR bit: VIRTIO_NET_F_HOST_ECN. */
  readonly ecn?: boolean
  /** UDP to be fragmented by IP: VIRTIO_NET_F_HOST_UFO. Linux takes the setting and no longer makes such frames. */
  readonly ufo?: boolean
  /** UDP to be cut into datagrams: VIRTIO_NET_F_HOST_USO. Linux 6.2 or newer. */
  readonly uso?: boolean
}

/**
 * The bits of TUNSETOFFLOAD for a set of offloads.
 *
 * @throws TapError `tap.offload-invalid` for a set that the kernel would refuse without saying why
 */
export function offloadBits(offloads: TapOffloads): number {
  const { checksum = false, tso4 = false, tso6 = false, ecn = false, ufo = false, uso = false } = offloads
  if (!checksum && (tso4 || tso6 || ecn || ufo || uso)) {
    throw new TapError(
      'tap.offload-invalid',
      'segmentation without checksum: every segment needs a checksum of its own. Turn `checksum` on, or the others off.',
    )
  }
  if (ecn && !(tso4 || tso6)) {
    throw new TapError(
      'tap.offload-invalid',
      '`ecn` is about TCP segmentation, which is off: turn `tso4` or `tso6` on, or `ecn` off.',
    )
  }
  return (
    (checksum ? TunOffload.CSUM : 0) |
    (tso4 ? TunOffload.TSO4 : 0) |
    (tso6 ? TunOffload.TSO6 : 0) |
    (ecn ? TunOffload.TSO_ECN : 0) |
    (ufo ? TunOffload.UFO : 0) |
    // The kernel knows one switch for both, and refuses either alone.
    (uso ? TunOffload.USO4 | TunOffload.USO6 : 0)
  )
}
