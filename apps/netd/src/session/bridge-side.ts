import type { NetDriver, NetOptions } from '@virtio-ts/driver-net'
import { BridgeCounters } from './bridge-counters.ts'
import { BridgeLane } from './bridge-lane.ts'
import { fits, unbridgeable } from './bridge-offloads.ts'
import type { PortEvent, PortUser } from './device-port.ts'
import type { FrameTap } from './frame-tap.ts'
import type { PacketPair } from './packet-pair.ts'
import type { SessionEvent } from './session-event.ts'

export interface BridgeSideOptions {
  readonly name: 'a' | 'b'
  readonly withoutFeatures: readonly string[]
  readonly poll: boolean
  /** Pairs of queues wanted. */
  readonly queues: number
  readonly frames: FrameTap
  readonly onEvent: (event: SessionEvent) => void
  /** Opens this side's device again, with other features. */
  readonly reopen: () => void
}

/** One device of a bridge, as the bridge uses it: what arrives on it goes out on the other one. */
export class BridgeSide implements PortUser {
  readonly counters: BridgeCounters = new BridgeCounters()
  other!: BridgeSide
  readonly #options: BridgeSideOptions
  /** Undefined while the device is away. */
  #driver: NetDriver | undefined
  /** The driver's, those in use. */
  #pairs: readonly PacketPair[] = []
  #lanes: readonly BridgeLane[] = []
  /** Features that let in what the other device cannot be sent. */
  #masked: readonly string[] = []

  constructor(options: BridgeSideOptions) {
    this.#options = options
  }

  driverOptions(): NetOptions {
    const { withoutFeatures, poll, queues } = this.#options
    return {
      withoutFeatures: [...withoutFeatures, ...this.#masked],
      interrupts: poll ? 'none' : 'auto',
      queuePairs: queues,
      // There is no interface of this machine that could be announced.
      acknowledgeAnnounce: 'driver',
    }
  }

  async connect(driver: NetDriver): Promise<void> {
    const { name, onEvent } = this.#options
    // Frames for whoever is behind the other device are for addresses that this one does not know.
    if (driver.features.has('CTRL_RX')) await driver.setReceiveMode({ promiscuous: true, allMulticast: true })
    driver.on('link', ({ up }) => onEvent({ event: 'link', port: name, up }))
    this.#driver = driver
    // The first one's calls on the driver itself also look after the device.
    this.#pairs = [driver, ...driver.pairs.slice(1, driver.describe().queuePairs.inUse)]
    this.other.#adaptTo(driver)
    const polled = driver.describe().interrupts === 'none'
    this.#lanes = this.#pairs.map((from, queue) => this.#lane(from, queue, polled))
    for (const lane of this.#lanes) lane.start()
  }

  disconnect(): void {
    this.#driver = undefined
    this.#pairs = []
    this.stopReceive()
  }

  /** What this device was to be sent comes from the other one. */
  stopTransmit(): void {
    this.other.stopReceive()
  }

  stopReceive(): void {
    for (const lane of this.#lanes) lane.stop()
  }

  event(event: PortEvent): void {
    this.#options.onEvent({ ...event, port: this.#options.name })
  }

  /** This device may deliver only what the other one can be sent; one that is open already and may deliver more is opened again. */
  #adaptTo(other: NetDriver): void {
    this.#masked = unbridgeable(other.offloads.transmit)
    if (this.#driver && !fits(this.#driver, other)) this.#options.reopen()
  }

  #lane(from: PacketPair, queue: number, polled: boolean): BridgeLane {
    const { name, frames } = this.#options
    return new BridgeLane({
      from,
      // Devices may have different numbers of pairs.
      to: () => this.other.#pairs[queue % Math.max(this.other.#pairs.length, 1)],
      counters: this.counters,
      frames,
      direction: name === 'a' ? 'rx' : 'tx',
      queue,
      polled,
    })
  }
}
