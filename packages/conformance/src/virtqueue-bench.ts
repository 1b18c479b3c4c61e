import type { DeviceAddress, DmaAllocator, DmaRegion } from '@virtio-ts/memory'
import type { VirtioError } from '@virtio-ts/spec'
import { ChainBuilder, usedBatch, type Virtqueue } from '@virtio-ts/virtqueue'
import { expect } from 'vitest'
import type { AvailableChain, DeviceSide } from './device-side.ts'

/** The queue a test asks for. */
export interface VirtqueueSetup {
  /** Number of descriptors: a power of two, or one of the suite's `sizes`. */
  readonly size: number
  readonly indirect: boolean
  readonly eventIdx: boolean
  /** IN_ORDER: the device gives chains back as they went, and one element for a batch of them. */
  readonly inOrder: boolean
  /** NOTIFICATION_DATA: the device side judges what notifications say. */
  readonly notificationData: boolean
  readonly trust: 'strict' | 'tolerant'
}

export interface VirtqueueUnderTest {
  readonly queue: Virtqueue
  readonly deviceSide: DeviceSide
  /** Memory that the device reaches, for buffers. */
  readonly dma: DmaAllocator
  close?(): void
}

/** A queue under test with one region for buffers. */
export class VirtqueueBench {
  readonly queue: Virtqueue
  readonly device: DeviceSide
  readonly region: DmaRegion
  readonly address: DeviceAddress
  readonly inOrder: boolean
  readonly #broken: VirtioError[] = []

  constructor({ queue, deviceSide, dma }: VirtqueueUnderTest, inOrder: boolean) {
    this.inOrder = inOrder
    this.queue = queue
    this.device = deviceSide
    this.region = dma.allocate(4096)
    this.address = this.region.deviceAddress
    queue.onBroken((reason) => this.#broken.push(reason))
  }

  /** Publishes chains with 64 writable bytes, cookies from 0, and hands them to the device. */
  send(count: number, buffers: number = 1): AvailableChain[] {
    const chain = new ChainBuilder(buffers)
    for (let i = 1; i < buffers; i++) chain.addReadable(this.address, 16)
    chain.addWritable(this.address, 64)
    for (let i = 0; i < count; i++) expect(this.queue.addChain(chain, i)).toBe(true)
    this.queue.publish()
    return this.device.takeAvailable()
  }

  /** Cookie and written length of all used buffers. */
  drain(capacity: number = 8): [number, number][] {
    const batch = usedBatch(capacity)
    const used: [number, number][] = []
    for (let count = this.queue.popUsed(batch); count > 0; count = this.queue.popUsed(batch)) {
      for (let i = 0; i < count; i++) used.push([batch.cookies[i]!, batch.written[i]!])
    }
    return used
  }

  expectBroken(before: [number, number][], code: string): void {
    const { queue, address } = this
    expect(this.drain()).toEqual(before)
    expect(this.#broken.map((reason) => reason.code)).toEqual([code])
    expect(queue.broken).toBe(this.#broken[0])
    expect([queue.hasUsed(), queue.enableUsedNotifications(), queue.popUsed(usedBatch(1))]).toEqual([false, false, 0])
    expect([queue.addReadable(address, 1, 0), queue.addWritable(address, 1, 0)]).toEqual([false, false])
    expect(queue.addChain(new ChainBuilder(1).addReadable(address, 1), 0)).toBe(false)
    const { notifications: sent } = this.device
    queue.publish()
    queue.notifyAlways()
    expect([this.device.notifications, this.#broken.length]).toEqual([sent, 1])
  }
}
