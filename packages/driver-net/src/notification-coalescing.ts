import { NetControl, VirtioError } from '@virtio-ts/spec'
import type { ControlOptions, ControlQueue } from './control-queue.ts'
import { read32, write16, write32 } from './net-header.ts'
import type { NetDriverFeature, NetFeatures } from './net-spec.ts'

/** When the device notifies of used buffers: what comes first. 0 and 0: at once. */
export interface Coalescing {
  readonly maxPackets: number
  readonly maxMicroseconds: number
}

export type Direction = 'receive' | 'transmit'

/** What was set: for all queues of a direction, and after that for single ones. */
export interface CoalescingSettings {
  readonly receive?: Coalescing
  readonly transmit?: Coalescing
  readonly queues?: readonly { readonly pair: number; readonly direction: Direction; readonly coalescing: Coalescing }[]
}

const { NOTF_COAL } = NetControl
const LENGTH = 8
const UINT32 = 0xffffffff

/** Fewer used buffer notifications, for more delay. @see VIRTIO 1.3 § 5.1.6.5.9 "Notifications Coalescing" */
export class NotificationCoalescing {
  readonly #control: ControlQueue | undefined
  readonly #features: NetFeatures
  readonly #device: string
  readonly #all: { receive?: Coalescing; transmit?: Coalescing } = {}
  #queues: NonNullable<CoalescingSettings['queues']> = []

  constructor(control: ControlQueue | undefined, features: NetFeatures, device: string) {
    this.#control = control
    this.#features = features
    this.#device = device
  }

  get settings(): CoalescingSettings {
    return { ...this.#all, ...(this.#queues.length > 0 && { queues: this.#queues }) }
  }

  async set(direction: Direction, coalescing: Coalescing, options?: ControlOptions): Promise<void> {
    const control = this.#require('NOTF_COAL')
    const command = direction === 'transmit' ? NOTF_COAL.TX_SET : NOTF_COAL.RX_SET
    await control.command(NOTF_COAL.CLASS, command, [encode(coalescing)], options)
    this.#all[direction] = { ...coalescing }
    this.#queues = this.#queues.filter((queue) => queue.direction !== direction)
  }

  async setQueue(pair: number, direction: Direction, coalescing: Coalescing, options?: ControlOptions): Promise<void> {
    const control = this.#require('VQ_NOTF_COAL')
    const data = new Uint8Array(4 + LENGTH)
    data.set(queueIndex(pair, direction))
    data.set(encode(coalescing), 4)
    await control.command(NOTF_COAL.CLASS, NOTF_COAL.VQ_SET, [data], options)
    const others = this.#queues.filter((queue) => queue.pair !== pair || queue.direction !== direction)
    this.#queues = [...others, { pair, direction, coalescing: { ...coalescing } }]
  }

  /** VIRTIO 1.3 § 5.1.6.5.9.5 "Driver Requirements: Notifications Coalescing": an answer that is an error has no values. */
  async getQueue(pair: number, direction: Direction, options?: ControlOptions): Promise<Coalescing> {
    const control = this.#require('VQ_NOTF_COAL')
    const result = await control.command(
      NOTF_COAL.CLASS,
      NOTF_COAL.VQ_GET,
      [queueIndex(pair, direction)],
      options,
      LENGTH,
    )
    return { maxPackets: read32(result, 0), maxMicroseconds: read32(result, 4) }
  }

  #require(feature: NetDriverFeature): ControlQueue {
    if (this.#control && this.#features.has(feature)) return this.#control
    throw new VirtioError(
      'net.unsupported',
      `${this.#device}: coalescing notifications needs ${feature}, which was not negotiated`,
      { device: this.#device },
    )
  }
}

/** vq_index and reserved. */
function queueIndex(pair: number, direction: Direction): Uint8Array {
  const data = new Uint8Array(4)
  write16(data, 0, 2 * pair + (direction === 'transmit' ? 1 : 0))
  return data
}

function encode({ maxPackets, maxMicroseconds }: Coalescing): Uint8Array {
  for (const value of [maxPackets, maxMicroseconds]) {
    if (!(Number.isInteger(value) && value >= 0 && value <= UINT32))
      throw new RangeError(`${value} is not an integer from 0 to ${UINT32}`)
  }
  const data = new Uint8Array(LENGTH)
  write32(data, 0, maxPackets)
  write32(data, 4, maxMicroseconds)
  return data
}
