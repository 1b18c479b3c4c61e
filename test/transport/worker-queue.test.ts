import { Worker } from 'node:worker_threads'
import { PackedDeviceSide, SplitDeviceSide } from '@virtio-ts/conformance'
import { DeviceMemory } from '@virtio-ts/device-models'
import { type MappedDma, memfdDma } from '@virtio-ts/memory/memfd'
import { close, eventfd, read } from '@virtio-ts/native'
import { PackedVirtqueue, SplitVirtqueue } from '@virtio-ts/virtqueue'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const CHAINS = 1000
const SIZE = 64

interface Told {
  readonly seen?: readonly (readonly [number, number, number])[]
  readonly broken?: string
  readonly stats: { readonly added: number; readonly used: number; readonly notificationsSent: number }
  readonly inFlight?: number
}

let dma: MappedDma
let notify: number

beforeEach(() => {
  dma = memfdDma(1 << 20)
  notify = eventfd()
})

afterEach(() => {
  dma.close()
  close(notify)
})

describe.each(['split', 'packed'] as const)('a %s queue handed to a worker', (format) => {
  it.each([
    { indirect: false, eventIdx: true },
    { indirect: true, eventIdx: false },
  ])('carries chains there and back: %o', async (features) => {
    const bench = handOver(format, features)
    const told: Told[] = []
    bench.worker.on('message', (message: Told) => told.push(message))
    bench.worker.on('error', (error) => {
      throw error
    })
    let used = 0
    const block = bench.memory.block
    while (told.length === 0) {
      for (const { id, buffers } of bench.deviceSide.takeAvailable()) {
        const [request, answer] = buffers.map(({ address }) => address - block.deviceAddress + block.bytes.byteOffset)
        const words = new DataView(block.bytes.buffer)
        words.setUint32(answer!, words.getUint32(request!, true) + 7, true)
        bench.deviceSide.putUsed(id, 1 + (used++ % 16))
      }
      await turn()
    }
    expect(told[0]!.seen).toEqual(Array.from({ length: CHAINS }, (_, i) => [i, 1 + (i % 16), i + 7]))
    expect(told[0]!.stats).toMatchObject({ added: CHAINS, used: CHAINS })
    expect(told[0]!.inFlight).toBe(0)
    const count = new Uint8Array(8)
    expect(read(notify, count)).toBe(8)
    expect(new DataView(count.buffer).getUint32(0, true)).toBe(told[0]!.stats.notificationsSent)
    await bench.end()
  })

  it('breaks there when the device lies, and memory stays the owner’s to free', async () => {
    const bench = handOver(format, { indirect: false, eventIdx: true })
    const told = new Promise<Told>((resolve) => bench.worker.on('message', resolve))
    let taken = bench.deviceSide.takeAvailable()
    for (; taken.length === 0; taken = bench.deviceSide.takeAvailable()) await turn()
    bench.deviceSide.putUsed(SIZE, 1)
    expect(await told).toMatchObject({ broken: 'ring.id-range', stats: { used: 0 } })
    expect([bench.queue.broken, dma.stats.allocatedRegions]).toEqual([undefined, 2])
    await bench.end()
  })
})

function handOver(format: 'split' | 'packed', features: { indirect: boolean; eventIdx: boolean }) {
  const options = { index: 1, size: SIZE, allocator: dma, trust: 'strict', notify() {}, ...features } as const
  const queue = format === 'packed' ? new PackedVirtqueue(options) : new SplitVirtqueue({ ...options, legacy: false })
  const memory = DeviceMemory.of(dma)
  const place = { memory, size: SIZE, ...features, ...queue.addresses }
  const deviceSide = format === 'packed' ? new PackedDeviceSide(place) : new SplitDeviceSide(place)
  const buffers = dma.allocate(16 * 32)
  const worker = new Worker(new URL('./queue-worker.fixture.mjs', import.meta.url), {
    // The build: hooks that load TypeScript cannot be had in one worker after the other (Node 20, swc).
    execArgv: [],
    workerData: {
      queue: queue.transfer(),
      descriptors: { notify, used: undefined },
      memory: { fd: dma.fd, deviceAddress: dma.deviceAddress, length: dma.length },
      buffers: buffers.deviceAddress,
      chains: CHAINS,
    },
  })
  return {
    queue,
    memory,
    deviceSide,
    worker,
    async end() {
      const exit = new Promise((resolve) => worker.once('exit', resolve))
      worker.postMessage('end')
      expect(await exit).toBe(0)
      queue.release()
      dma.free(buffers)
    },
  }
}
