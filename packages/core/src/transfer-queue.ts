import type { DmaRegion } from '@virtio-ts/memory'
import { VirtioError } from '@virtio-ts/spec'
import type { OwnedVirtqueue, VirtqueueTransfer } from '@virtio-ts/virtqueue'
import type { QueueDescriptors, Transport } from './transport.ts'

/** The file a queue lies in, for another thread to map from its first byte. */
export interface QueueFile {
  /** Stays the allocator's to close. */
  readonly fd: number
  /** Where the device sees the file's first byte. */
  readonly deviceAddress: number
  /** Bytes from the file's beginning that hold the queue; what else was allocated from the file may lie behind. */
  readonly length: number
}

/** All another thread needs to serve a queue by itself: plain data, for `postMessage`. */
export interface TransferredQueue {
  /** For `adoptVirtqueue`. */
  readonly queue: VirtqueueTransfer
  readonly descriptors: QueueDescriptors
  readonly memory: QueueFile
}

/** @throws VirtioError `queue.bound-to-thread`, and then the queue is as it was; `ring.in-use` */
export function transferQueue(transport: Transport, name: string, queue: OwnedVirtqueue): TransferredQueue {
  const bound = (reason: string): VirtioError =>
    new VirtioError(
      'queue.bound-to-thread',
      `queue ${name} of ${transport.location} cannot be handed to another thread: ${reason}`,
      { device: transport.location, queue: queue.index },
    )
  const descriptors = transport.queueDescriptors?.(queue.index)
  if (descriptors === undefined)
    throw bound(`the ${transport.name} transport notifies from this thread only; drive the queue from here`)
  const memory = fileOf(queue.memory)
  if (memory === undefined)
    throw bound('its memory is not that of one file another thread could map; allocate from a memfd or hugetlb file')
  return { queue: queue.transfer(), descriptors, memory }
}

function fileOf(regions: readonly DmaRegion[]): QueueFile | undefined {
  let found: QueueFile | undefined
  for (const { file, deviceAddress, length } of regions) {
    if (file === undefined) return undefined
    const first = deviceAddress - file.offset
    if (found && (found.fd !== file.fd || found.deviceAddress !== first)) return undefined
    found = {
      fd: file.fd,
      deviceAddress: first,
      length: Math.max(found?.length ?? 0, file.offset + length),
    }
  }
  return found
}
