import { heapDma } from '@virtio-ts/memory/heap'
import type { DmaAllocator, DmaRegion } from '@virtio-ts/memory'
import { featureSet, ReservedFeature } from '@virtio-ts/spec'
import { describe, expect, it } from 'vitest'
import type { DriverSpec } from './driver-spec.ts'
import { initialize } from './initialize.ts'
import { ScriptedTransport } from './testing/scripted-transport.ts'
import type { QueueDescriptors } from './transport.ts'

const spec: DriverSpec<never, 'requestq'> = { name: 'test', deviceType: 4, features: {}, queues: ['requestq'] }
const { VERSION_1, INDIRECT_DESC } = ReservedFeature

/** Memory that says it lies in a file; the second region in another one, if so wished. */
function fileDma(fds: readonly (number | undefined)[], shift: number = 0): DmaAllocator {
  const heap = heapDma(1 << 16, { deviceAddress: 0x10_0000 })
  let count = 0
  return {
    allocate(length: number, alignment?: number): DmaRegion {
      const region = heap.allocate(length, alignment)
      const fd = fds[Math.min(count, fds.length - 1)]
      const offset = region.deviceAddress - 0x10_0000 + shift * count++
      return { ...region, ...(fd !== undefined && { file: { fd, offset } }) }
    },
    free() {},
    quarantine() {},
    stats: heap.stats,
  }
}

class SharedTransport extends ScriptedTransport {
  override readonly dma: never
  readonly #descriptors: QueueDescriptors | undefined

  constructor(dma: DmaAllocator, descriptors: QueueDescriptors | undefined = { notify: 30, used: 31 }) {
    super({ offers: featureSet(VERSION_1, INDIRECT_DESC) })
    this.dma = dma as never
    this.#descriptors = descriptors
  }

  queueDescriptors(): QueueDescriptors | undefined {
    return this.#descriptors
  }
}

describe('transferQueue', () => {
  it('gives what another thread needs: queue, descriptors, and the file from its first byte', async () => {
    const device = await initialize(new SharedTransport(fileDma([17])), spec)
    const { queue, descriptors, memory } = structuredClone(device.transferQueue('requestq'))
    expect(descriptors).toEqual({ notify: 30, used: 31 })
    expect(queue).toMatchObject({ format: 'split', index: 0, size: 8, tableCapacity: 8, generation: device.generation })
    expect(memory).toEqual({ fd: 17, deviceAddress: 0x10_0000, length: expect.any(Number) })
    const end = queue.tablesAddress + 8 * 8 * 16
    expect(memory.length).toBe(end - 0x10_0000)
    expect(() => device.transferQueue('requestq')).toThrow(expect.objectContaining({ code: 'ring.in-use' }))
    expect(() => device.requestQueue('requestq')).toThrow(expect.objectContaining({ code: 'queue.bound-to-thread' }))
    await device.close()
  })

  it.each<[string, DmaAllocator]>([
    ['no file', fileDma([undefined])],
    ['two files', fileDma([17, 18])],
    ['a file, but for the tables', fileDma([17, undefined])],
    ['a file that lies elsewhere for the device than before', fileDma([17], 4096)],
  ])('says what binds it to this thread: memory with %s', async (_, dma) => {
    const device = await initialize(new SharedTransport(dma), spec)
    expect(() => device.transferQueue('requestq')).toThrow(
      expect.objectContaining({ code: 'queue.bound-to-thread', message: expect.stringContaining('memfd') }),
    )
    expect(device.queue('requestq').free).toBe(8)
    await device.close()
  })

  it('says what binds it to this thread: the transport, or its requests', async () => {
    for (const transport of [
      new ScriptedTransport(),
      Object.assign(new SharedTransport(fileDma([17])), { queueDescriptors: () => undefined }),
    ]) {
      const device = await initialize(transport, spec)
      expect(() => device.transferQueue('requestq')).toThrow(
        expect.objectContaining({ code: 'queue.bound-to-thread', message: expect.stringContaining('scripted') }),
      )
      await device.close()
    }
    const device = await initialize(new SharedTransport(fileDma([17])), spec)
    device.requestQueue('requestq')
    expect(() => device.transferQueue('requestq')).toThrow(
      expect.objectContaining({ code: 'queue.bound-to-thread', message: expect.stringContaining('requests') }),
    )
    await device.close()
  })

  it('describe() knows of the counters only what the other thread tells', async () => {
    const device = await initialize(new SharedTransport(fileDma([17])), spec)
    expect(device.describe().queues).toMatchObject([{ name: 'requestq', added: 0, inFlight: 0 }])
    device.transferQueue('requestq')
    expect(device.describe().queues).toEqual([{ name: 'requestq', index: 0, size: 8 }])
    const stats = { ...device.queue('requestq').stats, added: 5, used: 3, inFlight: 2 }
    device.reportQueueStats('requestq', stats)
    expect(device.describe().queues).toEqual([{ name: 'requestq', index: 0, size: 8, ...stats }])
    expect(() => device.reportQueueStats('other' as 'requestq', stats)).toThrow(RangeError)
    await device.close()
  })
})
