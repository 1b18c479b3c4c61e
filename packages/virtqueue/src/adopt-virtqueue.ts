import { type MappedMemory, MappedQueueMemory } from './mapped-queue-memory.ts'
import { PackedVirtqueue } from './packed-virtqueue.ts'
import { SplitVirtqueue } from './split-virtqueue.ts'
import type { QueueAddresses, Virtqueue } from './virtqueue.ts'
import type { VirtqueueTransfer } from './virtqueue-transfer.ts'

export interface AdoptVirtqueueOptions {
  /** The file the queue's owner allocated it in, mapped by this thread: `bytes` and where the device sees the first of them. */
  readonly memory: MappedMemory
  /** Sends an available buffer notification. Must not throw. */
  readonly notify: () => void
}

/**
 * The queue that another thread handed over with `transfer`, for this one to use. Nothing here frees its memory, which has to stay
 * mapped while the queue is in use; the owner must not `reset` or `release` it before this thread has stopped.
 * @throws RangeError when the queue does not lie inside `memory`, or the data is not that of a queue
 */
export function adoptVirtqueue(transfer: VirtqueueTransfer, { memory, notify }: AdoptVirtqueueOptions): Virtqueue {
  const { format, addresses, tablesAddress, tableCapacity, legacy, startIndex, usedNotifications, ...rest } = transfer
  if (!(Number.isInteger(tableCapacity) && tableCapacity >= 0 && tableCapacity <= transfer.size))
    throw new RangeError(`indirect tables of ${tableCapacity} buffers in a ring of ${transfer.size}`)
  const options = {
    ...rest,
    allocator: new MappedQueueMemory(memory, [addresses.descriptorArea, tablesAddress]),
    indirect: tableCapacity > 0,
    indirectCapacity: tableCapacity,
    notify,
    adopted: { usedNotifications },
  }
  const queue =
    format === 'packed' ? new PackedVirtqueue(options) : new SplitVirtqueue({ ...options, legacy, startIndex })
  for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] satisfies (keyof QueueAddresses)[]) {
    if (queue.addresses[area] !== addresses[area])
      throw new RangeError(
        `the ${area} of a ${format} queue of ${queue.size} is not at 0x${addresses[area].toString(16)}`,
      )
  }
  return queue
}
