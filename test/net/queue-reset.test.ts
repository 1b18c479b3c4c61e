import { type DriverSpec, initialize, type UsedBatch, usedBatch, type VirtioDevice } from '@virtio-ts/core'
import type { DeviceAddress, DmaRegion } from '@virtio-ts/memory'
import { QemuBench } from '@virtio-ts/qemu'
import { DeviceType } from '@virtio-ts/spec'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'

const HEADER = 12
const FRAME = 64
const STRIDE = 2048
const FRAMES = 300
const LOCAL_EXPERIMENT = [0x88, 0xb5]

type QueueName = 'receiveq1' | 'transmitq1'
const spec: DriverSpec<never, QueueName> = {
  name: 'net',
  deviceType: DeviceType.NETWORK,
  features: {},
  queues: ['receiveq1', 'transmitq1'],
}

/** A network card by its two queues: the least that sends numbered frames and counts them. */
class Card {
  readonly device: VirtioDevice<never, QueueName>
  readonly #buffers: DmaRegion
  readonly #batch: UsedBatch = usedBatch(64)
  readonly seen = new Map<number, number>()

  constructor(device: VirtioDevice<never, QueueName>) {
    this.device = device
    this.#buffers = device.allocate(STRIDE * 256)
    this.supply()
  }

  static async open(bench: QemuBench, slot: number, queueSize: number): Promise<Card> {
    const transport = await VirtioPciDriver.attach(bench.function(slot))
    const device = await initialize(transport, spec, { queueSize, interrupts: 'none' })
    return new Card(device)
  }

  /** Gives the receive queue as many buffers as it takes. */
  supply(): void {
    const queue = this.device.queue('receiveq1')
    for (let slot = 0; slot < 128 && queue.addWritable(this.#address(slot), STRIDE, slot); slot++);
    queue.publish()
  }

  send(number: number): boolean {
    const queue = this.device.queue('transmitq1')
    while (queue.popUsed(this.#batch) > 0);
    const slot = 128 + (number % 128)
    const at = STRIDE * slot
    const { bytes } = this.#buffers
    bytes.fill(0, at, at + HEADER + FRAME)
    bytes.fill(0xff, at + HEADER, at + HEADER + 6)
    bytes.set([0x02, 0, 0, 0, 0, 1, ...LOCAL_EXPERIMENT], at + HEADER + 6)
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(at + HEADER + 14, number)
    if (queue.inFlight >= 100 || !queue.addReadable(this.#address(slot), HEADER + FRAME, slot)) return false
    queue.publish()
    return true
  }

  receive(): void {
    const queue = this.device.queue('receiveq1')
    const view = new DataView(this.#buffers.bytes.buffer, this.#buffers.bytes.byteOffset)
    for (let count = queue.popUsed(this.#batch); count > 0; count = queue.popUsed(this.#batch)) {
      for (let i = 0; i < count; i++) {
        const slot = this.#batch.cookies[i]!
        const at = STRIDE * slot + HEADER
        if (view.getUint16(at + 12) === 0x88b5) {
          const number = view.getUint32(at + 14)
          this.seen.set(number, (this.seen.get(number) ?? 0) + 1)
        }
        queue.addWritable(this.#address(slot), STRIDE, slot)
      }
      queue.publish()
    }
  }

  #address(slot: number): DeviceAddress {
    return (this.#buffers.deviceAddress + STRIDE * slot) as DeviceAddress
  }
}

/** Sends numbered frames one way, each as soon as there is room, until all have arrived or nothing moves for long. */
async function exchange(from: Card, to: Card, first: number): Promise<{ lost: number; again: number }> {
  let next = first
  const end = first + FRAMES
  const arrived = (): number => [...to.seen.keys()].filter((number) => number >= first && number < end).length
  // A hub drops what finds no receive buffer: never more under way than there are buffers.
  for (let idle = 0; idle < 200 && arrived() < FRAMES; idle++) {
    const before = arrived()
    while (next < end && next - first < before + 2 && from.send(next)) next++
    to.receive()
    from.receive()
    if (arrived() === before) await wait(5)
    else idle = 0
  }
  const again = [...to.seen].filter(([number, times]) => number >= first && number < end && times > 1).length
  return { lost: FRAMES - arrived(), again }
}

requirement('qemu')('RING_RESET on QEMU', () => {
  describe.each([
    { packed: false, sizes: [64, 256, 4, 16] },
    { packed: true, sizes: [64, 256, 7, 16] },
  ])('packed $packed', ({ packed, sizes }) => {
    it('§ 2.6.1: traffic goes on after queues were reset, with another size each time', async () => {
      const bench = await QemuBench.start({
        devices: ['n0', 'n1'].map(
          (netdev) =>
            `virtio-net-pci,netdev=${netdev},packed=${packed ? 'on' : 'off'},rx_queue_size=256,tx_queue_size=256`,
        ),
        netdevs: ['hubport,id=n0,hubid=0', 'hubport,id=n1,hubid=0'],
      })
      try {
        const from = await Card.open(bench, 0, 16)
        const to = await Card.open(bench, 1, 16)
        for (const { device } of [from, to]) {
          expect(device.features.has('RING_RESET')).toBe(true)
          expect(device.features.has('RING_PACKED')).toBe(packed)
        }
        const idle = {
          from: bench.function(0).dma.stats.allocatedRegions,
          to: bench.function(1).dma.stats.allocatedRegions,
        }
        expect(await exchange(from, to, 0)).toEqual({ lost: 0, again: 0 })
        let first = FRAMES
        for (const size of sizes) {
          await from.device.resetQueue('transmitq1', { size })
          const cookies = await to.device.resetQueue('receiveq1', { size })
          expect(new Set(cookies).size).toBe(cookies.length)
          to.supply()
          const queues = [from.device.queue('transmitq1'), to.device.queue('receiveq1')]
          expect(queues.map((queue) => [queue.size, queue.broken])).toEqual([
            [size, undefined],
            [size, undefined],
          ])
          expect(await exchange(from, to, first), `with ${size} descriptors`).toEqual({ lost: 0, again: 0 })
          // The other direction was left alone.
          expect(await exchange(to, from, first + FRAMES)).toEqual({ lost: 0, again: 0 })
          first += 2 * FRAMES
        }
        // The same size: the same memory.
        const queue = to.device.queue('receiveq1')
        await to.device.resetQueue('receiveq1')
        expect(to.device.queue('receiveq1')).toBe(queue)
        to.supply()
        expect(await exchange(from, to, first)).toEqual({ lost: 0, again: 0 })
        expect({
          from: bench.function(0).dma.stats.allocatedRegions,
          to: bench.function(1).dma.stats.allocatedRegions,
        }).toEqual(idle)
        await from.device.close()
        await to.device.close()
        for (const slot of [0, 1])
          expect(bench.function(slot).dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
      } finally {
        await bench.close()
      }
    })
  })
})
