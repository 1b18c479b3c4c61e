import { usedBatch, type VirtioDevice } from '@virtio-ts/core'
import { deviceAddress } from '@virtio-ts/memory'

/**
 * Keeps the queue full of buffers of `length` bytes, and shows each as the device returns it. `listener` must not throw, and must not
 * keep the bytes: the buffer goes back when it returns.
 */
export function streamBuffers(
  device: VirtioDevice<never, 'requestq'>,
  length: number,
  listener: (bytes: Uint8Array) => void,
): void {
  const queue = device.queue('requestq')
  const region = device.allocate(queue.size * length)
  const batch = usedBatch(queue.size)
  const post = (buffer: number): boolean =>
    queue.addWritable(deviceAddress(region.deviceAddress + buffer * length), length, buffer)

  for (let buffer = 0; buffer < queue.size; buffer++) post(buffer)
  queue.publish()
  device.onUsed('requestq', () => {
    do {
      const count = queue.popUsed(batch)
      for (let i = 0; i < count; i++) {
        const buffer = batch.cookies[i]!
        listener(region.bytes.subarray(buffer * length, buffer * length + batch.written[i]!))
        post(buffer)
      }
      queue.publish()
    } while (queue.enableUsedNotifications())
  })
}
