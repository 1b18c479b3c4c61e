import { DeviceMemory } from '@virtio-ts/device-models'
import { heapDma } from '@virtio-ts/memory/heap'
import { SplitVirtqueue } from '@virtio-ts/virtqueue'
import { SplitDeviceSide } from './split-device-side.ts'
import { virtqueueSuite } from './virtqueue-suite.ts'

for (const [legacy, startIndex] of [
  [false, 0],
  [false, 0xfffd],
  [true, 0],
] as const) {
  virtqueueSuite(`split, legacy ${legacy}, from ${startIndex}`, {
    create({ size, indirect, eventIdx, trust }) {
      const dma = heapDma(1 << 16)
      const queue = new SplitVirtqueue({
        index: 0,
        size,
        allocator: dma,
        legacy,
        indirect,
        eventIdx,
        trust,
        startIndex,
        notify: () => deviceSide.notified(),
      })
      const memory = DeviceMemory.of(dma)
      const deviceSide = new SplitDeviceSide({ memory, size, indirect, eventIdx, startIndex, ...queue.addresses })
      return { queue, deviceSide, dma, close: () => queue.release() }
    },
  })
}
