import type { NetDriver, NetOptions } from '@virtio-ts/driver-net'
import type { PacketTap } from '../capture/packet-tap.ts'
import type { SessionDescription } from '../control/observable.ts'
import { BridgeCounters } from './bridge-counters.ts'
import { BridgeLane } from './bridge-lane.ts'
import { fits, unbridgeable } from './bridge-offloads.ts'
import { DevicePort, type PortEvent, type PortUser } from './device-port.ts'
import { FrameTap } from './frame-tap.ts'
import type { HostedSession } from './hosted-session.ts'
import type { OpenedDevice } from './opened-device.ts'
import type { PacketPair } from './packet-pair.ts'
import type { SessionEvent } from './session-event.ts'

export interface BridgeOptions {
  readonly name: string
  /** How the devices were named; for people. */
  readonly locators: readonly [string, string]
  readonly withoutFeatures: readonly string[]
  readonly poll: boolean
}

type SideName = 'a' | 'b'

/** One device of a bridge, as the bridge uses it. */
class Side implements PortUser {
  readonly name: SideName
  readonly counters = new BridgeCounters()
  port!: DevicePort
  other!: Side
  /** Undefined while the device is away. */
  driver: NetDriver | undefined
  /** Features that let in what the other side cannot send on. */
  masked: readonly string[] = []
  readonly #options: BridgeOptions
  readonly #frames: FrameTap
  readonly #onEvent: (event: SessionEvent) => void
  #lanes: readonly BridgeLane[] = []

  constructor(name: SideName, options: BridgeOptions, frames: FrameTap, onEvent: (event: SessionEvent) => void) {
    this.name = name
    this.#options = options
    this.#frames = frames
    this.#onEvent = onEvent
  }

  driverOptions(): NetOptions {
    return {
      withoutFeatures: [...this.#options.withoutFeatures, ...this.masked],
      interrupts: this.#options.poll ? 'none' : 'auto',
      // There is no interface of this machine that could be announced.
      acknowledgeAnnounce: 'driver',
    }
  }

  async connect(driver: NetDriver): Promise<void> {
    // Frames for whoever is behind the other device are for addresses that this one does not know.
    if (driver.features.has('CTRL_RX')) await driver.setReceiveMode({ promiscuous: true, allMulticast: true })
    driver.on('link', ({ up }) => this.#onEvent({ event: 'link', port: this.name, up }))
    this.driver = driver
    this.#adaptOther(driver)
    this.#lanes = this.#lanesOf([driver])
    for (const lane of this.#lanes) lane.start()
  }

  disconnect(): void {
    this.driver = undefined
    for (const lane of this.#lanes) lane.stop()
  }

  /** What this device was to be sent comes from the other one. */
  stopTransmit(): void {
    this.other.stopReceive()
  }

  stopReceive(): void {
    for (const lane of this.#lanes) lane.stop()
  }

  event(event: PortEvent): void {
    this.#onEvent({ ...event, port: this.name })
  }

  /** The other device may deliver only what this one takes; and the other way round, when that one is opened next. */
  #adaptOther(driver: NetDriver): void {
    const { other } = this
    other.masked = unbridgeable(driver.offloads.transmit)
    if (other.driver && !fits(other.driver, driver)) void other.port.reopen('net.offloads-changed')
  }

  #lanesOf(pairs: readonly PacketPair[]): BridgeLane[] {
    return pairs.map(
      (from, queue) =>
        new BridgeLane({
          from,
          to: () => this.other.driver,
          counters: this.counters,
          frames: this.#frames,
          direction: this.name === 'a' ? 'rx' : 'tx',
          queue,
          polled: this.#options.poll,
        }),
    )
  }
}

/** Two devices, and every frame that arrives on one of them sent on the other. */
export class BridgeSession implements HostedSession {
  readonly name: string
  readonly ended: Promise<Error>
  readonly #a: Side
  readonly #b: Side
  readonly #frames: FrameTap
  #stopping: Promise<void> | undefined

  private constructor(name: string, a: Side, b: Side, frames: FrameTap) {
    this.name = name
    this.#a = a
    this.#b = b
    this.#frames = frames
    this.ended = Promise.race([a.port.ended, b.port.ended])
  }

  /**
   * @param openDevice opens the first (0) or second (1) device
   * @param signal gives up waiting for a device that will connect to us
   * @throws VirtioError, QemuError, PciError; nothing is left open then
   */
  static async open(
    options: BridgeOptions,
    openDevice: (index: 0 | 1) => Promise<OpenedDevice>,
    onEvent: (event: SessionEvent) => void,
    signal: AbortSignal,
  ): Promise<BridgeSession> {
    const frames = new FrameTap()
    const a = new Side('a', options, frames, onEvent)
    const b = new Side('b', options, frames, onEvent)
    a.other = b
    b.other = a
    const devices: OpenedDevice[] = []
    try {
      devices.push(await openDevice(0))
      devices.push(await openDevice(1))
      const [first, second] = devices as [OpenedDevice, OpenedDevice]
      a.port = await DevicePort.open(options.locators[0], first, a, signal)
      b.port = await DevicePort.open(options.locators[1], second, b, signal)
      await a.port.settled
    } catch (error) {
      await Promise.allSettled([a.port?.stop(), b.port?.stop()])
      for (const device of devices) await device.release()
      throw error
    }
    const session = new BridgeSession(options.name, a, b, frames)
    const ports = [a.port.describe(), b.port.describe()].map(({ locator, device, net }) => ({
      device: locator,
      mac: net.mac,
      features: device.features,
      transport: device.transport,
      vectors: device.vectors,
    }))
    onEvent({ event: 'ready', name: options.name, ports })
    return session
  }

  /** The first device, and the second one as its `peer`. */
  describe(): SessionDescription {
    return { ...this.#a.port.describe(), peer: this.#b.port.describe() }
  }

  /** The drivers' counters, those of the first device with `a_` in front, those of the second with `b_`. */
  stats(): Record<string, number> {
    const stats = { ...this.#a.counters.snapshot('a_to_b'), ...this.#b.counters.snapshot('b_to_a') }
    for (const side of [this.#a, this.#b])
      for (const [name, value] of Object.entries(side.port.stats())) stats[`${side.name}_${name}`] = value
    return stats
  }

  /** Packets are shown from the first device: `rx` came from it, `tx` goes to it. */
  attachCapture(tap: PacketTap): () => void {
    return this.#frames.attach(tap)
  }

  /** Takes no more frames, lets those in the rings leave (2 s at most), and resets both devices. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#a.stopReceive()
    this.#b.stopReceive()
    const [first, second] = await Promise.allSettled([this.#a.port.stop(), this.#b.port.stop()])
    for (const result of [first, second]) if (result.status === 'rejected') throw result.reason
  }
}
