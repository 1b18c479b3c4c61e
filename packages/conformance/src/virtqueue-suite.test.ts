import { DeviceMemory } from '@virtio-ts/device-models'
import { heapDma } from '@virtio-ts/memory/heap'
import { PackedVirtqueue, SplitVirtqueue } from '@virtio-ts/virtqueue'
import { PackedDeviceSide } from './packed-device-side.ts'
import { SplitDeviceSide } from './split-device-side.ts'
import { virtqueueSuite } from './virtqueue-suite.ts'

for (const [legacy, startIndex] of [
  [false, 0],
  [false, 0xfffd],
  [true, 0],
] as const) {
  virtqueueSuite(`split, legacy ${legacy}, from ${startIndex}`, {
    modern: !legacy,
    create({ size, indirect, eventIdx, inOrder, notificationData, trust }) {
      const dma = heapDma(1 << 16)
      const queue = new SplitVirtqueue({
        index: 0,
        size,
        allocator: dma,
        legacy,
        indirect,
        eventIdx,
        inOrder,
        trust,
        startIndex,
        notify: (next) => deviceSide.notified(next),
      })
      const memory = DeviceMemory.of(dma)
      const deviceSide = new SplitDeviceSide({
        memory,
        size,
        indirect,
        eventIdx,
        inOrder: inOrder ? 'always' : undefined,
        notificationData,
        startIndex,
        ...queue.addresses,
      })
      return { queue, deviceSide, dma, close: () => queue.release() }
    },
  })
}

virtqueueSuite('packed', {
  sizes: [3, 5, 7, 256],
  create({ size, indirect, eventIdx, inOrder, notificationData, trust }) {
    const dma = heapDma(1 << 17)
    const queue = new PackedVirtqueue({
      index: 0,
      size,
      allocator: dma,
      indirect,
      eventIdx,
      inOrder,
      trust,
      notify: (next) => deviceSide.notified(next),
    })
    const memory = DeviceMemory.of(dma)
    const deviceSide = new PackedDeviceSide({
      memory,
      size,
      indirect,
      eventIdx,
      inOrder: inOrder ? 'always' : undefined,
      notificationData,
      ...queue.addresses,
    })
    return { queue, deviceSide, dma, close: () => queue.release() }
  },
})
