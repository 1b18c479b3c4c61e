import type { Transport } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'
import { DeviceStatus, featureSet, ReservedFeature, SplitRing, splitRingLayout } from '@virtio-ts/spec'

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK } = DeviceStatus
const BUFFER_LENGTH = 64

/**
 * Queue 0 of an entropy device with one buffer at a time, its ring written by hand: the least that makes a device send a used
 * buffer notification.
 */
export class EntropyQueue {
  readonly #transport: Transport
  readonly #ring: DmaRegion
  readonly #buffer: DmaRegion
  readonly #view: DataView
  readonly #size: number
  #available = 0

  private constructor(transport: Transport, size: number) {
    const layout = splitRingLayout(size, transport.legacy)
    this.#transport = transport
    this.#size = size
    this.#ring = transport.dma.allocate(layout.length, layout.alignment)
    this.#buffer = transport.dma.allocate(BUFFER_LENGTH)
    this.#view = new DataView(this.#ring.bytes.buffer, this.#ring.bytes.byteOffset, this.#ring.length)
  }

  /** Takes a device from reset to features, sets interrupts up, and starts queue 0. */
  static async start(transport: Transport, interrupts: 'auto' | 'msix' | 'intx' | 'none' = 'auto') {
    await transport.reset()
    await transport.setStatus(ACKNOWLEDGE)
    await transport.setStatus(ACKNOWLEDGE | DRIVER)
    await transport.acceptFeatures((await transport.deviceFeatures()) & featureSet(ReservedFeature.VERSION_1))
    let status: number = ACKNOWLEDGE | DRIVER
    if (!transport.legacy) await transport.setStatus((status |= FEATURES_OK))
    const setUp = await transport.setUpInterrupts(1, interrupts)
    const queue = new EntropyQueue(transport, await transport.queueSizeMax(0))
    await queue.enable()
    await transport.setStatus(status | DRIVER_OK)
    return { queue, ...setUp }
  }

  /** For a queue that was reset as well: the ring begins anew. */
  async enable(): Promise<void> {
    const layout = splitRingLayout(this.#size, this.#transport.legacy)
    const at = (offset: number) => (this.#ring.deviceAddress + offset) as DmaRegion['deviceAddress']
    this.#ring.bytes.fill(0)
    this.#available = 0
    await this.#transport.enableQueue(0, this.#size, {
      descriptorArea: at(layout.descriptorArea),
      driverArea: at(layout.driverArea),
      deviceArea: at(layout.deviceArea),
    })
  }

  get used(): number {
    const { deviceArea } = splitRingLayout(this.#size, this.#transport.legacy)
    return this.#view.getUint16(deviceArea + SplitRing.USED_IDX, true)
  }

  /** Makes the buffer available and notifies. */
  ask(): void {
    const { driverArea } = splitRingLayout(this.#size, this.#transport.legacy)
    const address = this.#buffer.deviceAddress
    this.#buffer.bytes.fill(0)
    this.#view.setUint32(0, address % 2 ** 32, true)
    this.#view.setUint32(4, Math.floor(address / 2 ** 32), true)
    this.#view.setUint32(8, BUFFER_LENGTH, true)
    this.#view.setUint16(12, SplitRing.DESC_F_WRITE, true)
    this.#view.setUint16(driverArea + SplitRing.AVAIL_RING + 2 * (this.#available % this.#size), 0, true)
    this.#available = (this.#available + 1) & 0xffff
    this.#view.setUint16(driverArea + SplitRing.AVAIL_IDX, this.#available, true)
    this.#transport.notify(0)
  }

  /** Asks, and waits for `onUsed` to be called with the buffer used. @returns how often it was called */
  round(): Promise<number> {
    const before = this.used
    return new Promise((resolve, reject) => {
      let calls = 0
      const limit = setTimeout(
        () => reject(new Error(`no used buffer notification (${calls} calls, used ${this.used})`)),
        10_000,
      )
      this.#transport.onUsed(0, () => {
        calls++
        if (this.used === before) return
        clearTimeout(limit)
        if (this.#buffer.bytes.every((byte) => byte === 0)) reject(new Error('used, but nothing written'))
        else resolve(calls)
      })
      this.ask()
    })
  }

  free(): void {
    this.#transport.dma.free(this.#ring)
    this.#transport.dma.free(this.#buffer)
  }
}
