import type { TransferredQueue, VirtioDevice } from '@virtio-ts/core'
import { VirtioError } from '@virtio-ts/spec'
import type { NetPairTransfer } from './net-queue-pair.ts'
import { type NetDriverFeature, type NetQueue, receiveQueueName, transmitQueueName } from './net-spec.ts'
import type { QueuePairEngine } from './queue-pair-engine.ts'

/**
 * Gives a pair's queues away, with all there is to know of the pair.
 * @throws VirtioError `queue.bound-to-thread`, `ring.in-use`
 */
export function transferPair(
  device: VirtioDevice<NetDriverFeature, NetQueue>,
  { shape, memory }: QueuePairEngine,
): NetPairTransfer {
  const { file, deviceAddress, length } = memory
  const receive = device.transferQueue(receiveQueueName(shape.index))
  const transmit = device.transferQueue(transmitQueueName(shape.index))
  const first = file && deviceAddress - file.offset
  const apart = (queue: TransferredQueue): boolean =>
    queue.memory.fd !== file?.fd || queue.memory.deviceAddress !== first
  if (file === undefined || apart(receive) || apart(transmit)) {
    throw new VirtioError(
      'queue.bound-to-thread',
      `pair ${shape.index} of ${shape.device} cannot be handed to another thread: its rings and packets are not in one file to map; ` +
        'allocate all of them from one memfd or hugetlb file',
      { device: shape.device, generation: shape.generation },
    )
  }
  return {
    shape,
    receive,
    transmit,
    packets: { deviceAddress, length },
    memory: {
      fd: file.fd,
      deviceAddress: deviceAddress - file.offset,
      length: Math.max(receive.memory.length, transmit.memory.length, file.offset + length),
    },
  }
}
