import type { NetFeatureName } from '@virtio-ts/spec'

/** Everything that leaves checksums or segmentation to the other side: what `--no-offload` masks. */
export const offloadFeatures: readonly NetFeatureName[] = [
  'CSUM',
  'GUEST_CSUM',
  'GUEST_TSO4',
  'GUEST_TSO6',
  'GUEST_ECN',
  'GUEST_UFO',
  'HOST_TSO4',
  'HOST_TSO6',
  'HOST_ECN',
  'HOST_UFO',
]
