/** Feature bits of the traditional memory balloon. @see VIRTIO 1.3 § 5.5.3 "Feature bits" */
export const BalloonFeature = {
  MUST_TELL_HOST: 0,
  STATS_VQ: 1,
  DEFLATE_ON_OOM: 2,
  FREE_PAGE_HINT: 3,
  PAGE_POISON: 4,
  PAGE_REPORTING: 5,
} as const

export type BalloonFeatureName = keyof typeof BalloonFeature

/** struct virtio_balloon_config: offsets in bytes, little-endian always. @see VIRTIO 1.3 § 5.5.4 "Device configuration layout" */
export const BalloonConfig = {
  NUM_PAGES: 0,
  ACTUAL: 4,
  FREE_PAGE_HINT_CMD_ID: 8,
  POISON_VAL: 12,
  LENGTH: 16,
} as const

/** Values of free_page_hint_cmd_id that are no command. @see VIRTIO 1.3 § 5.5.6.5 "Free Page Hinting" */
export const BalloonHint = {
  CMD_ID_STOP: 0,
  CMD_ID_DONE: 1,
} as const

/** Tags of statistics, and the length in bytes of an entry. @see VIRTIO 1.3 § 5.5.6.4 "Memory Statistics Tags" */
export const BalloonStat = {
  S_SWAP_IN: 0,
  S_SWAP_OUT: 1,
  S_MAJFLT: 2,
  S_MINFLT: 3,
  S_MEMFREE: 4,
  S_MEMTOT: 5,
  S_AVAIL: 6,
  S_CACHES: 7,
  S_HTLB_PGALLOC: 8,
  S_HTLB_PGFAIL: 9,
  ENTRY_LENGTH: 10,
} as const

/** Bytes of a page as the balloon counts them, whatever the machine's are. @see VIRTIO 1.3 § 5.5.6 "Device Operation" */
export const BALLOON_PAGE = 4096

export type BalloonQueueName = 'inflateq' | 'deflateq' | 'statsq' | 'free_page_vq' | 'reporting_vq'

/** The queues in the order of the specification's numbers, and the feature that brings each of them. */
const queues: readonly (readonly [BalloonQueueName, BalloonFeatureName | undefined])[] = [
  ['inflateq', undefined],
  ['deflateq', undefined],
  ['statsq', 'STATS_VQ'],
  ['free_page_vq', 'FREE_PAGE_HINT'],
  ['reporting_vq', 'PAGE_REPORTING'],
]

/**
 * Indices of the queues that a device has. The specification numbers them from 0 to 4 whatever is offered (`fixed`). QEMU and Firecracker
 * leave no gaps: a queue's index is the number of queues before it that the device offers (`dense`).
 * @param offered whether the device offers a feature; what was accepted of it changes nothing
 * @see VIRTIO 1.3 § 5.5.2 "Virtqueues"
 */
export function balloonQueues(
  offered: (feature: BalloonFeatureName) => boolean,
  numbering: 'dense' | 'fixed',
): ReadonlyMap<BalloonQueueName, number> {
  const there = queues.map(([name, feature], index) => ({ name, index, offered: !feature || offered(feature) }))
  return new Map(
    there
      .filter((queue) => queue.offered)
      .map(({ name, index }, position) => [name, numbering === 'dense' ? position : index]),
  )
}
