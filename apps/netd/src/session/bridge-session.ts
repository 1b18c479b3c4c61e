import type { SessionDescription } from '../control/observable.ts'
import { BridgeSide } from './bridge-side.ts'
import { DevicePort } from './device-port.ts'
import { type FrameListener, FrameTap } from './frame-tap.ts'
import type { HostedSession } from './hosted-session.ts'
import type { OpenedDevice } from '@virtio-ts/device-locator'
import type { SessionEvent } from './session-event.ts'

export interface BridgeOptions {
  readonly name: string
  /** How the devices were named; for people. */
  readonly locators: readonly [string, string]
  readonly withoutFeatures: readonly string[]
  readonly poll: boolean
  /** Takes a PCI function of this machine also when a default route goes over it. @defaultValue false */
  readonly force?: boolean
  /** A PCI function that was unplugged is waited for. @defaultValue false */
  readonly wait?: boolean
  /** Pairs of queues wanted of each device. */
  readonly queues: number
}

/** One device, opened. */
interface End {
  readonly name: 'a' | 'b'
  readonly side: BridgeSide
  readonly port: DevicePort
}

/** Two devices, and every frame that arrives on one of them sent on the other. */
export class BridgeSession implements HostedSession {
  readonly name: string
  readonly ended: Promise<Error>
  readonly #ends: readonly [End, End]
  readonly #frames: FrameTap
  #stopping: Promise<void> | undefined

  private constructor(name: string, ends: readonly [End, End], frames: FrameTap) {
    this.name = name
    this.#ends = ends
    this.#frames = frames
    this.ended = Promise.race(ends.map(({ port }) => port.ended))
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
    const ends: End[] = []
    let ready = false
    // A device that is opened once more to suit the other one is no news before both are there.
    const tell = (event: SessionEvent): void => {
      if (ready || event.event !== 'reset') onEvent(event)
    }
    const sides = (['a', 'b'] as const).map((name, index) => {
      const reopen = (): void => void ends[index]?.port.reopen('net.offloads-changed')
      return new BridgeSide({ ...options, name, frames, onEvent: tell, reopen })
    }) as [BridgeSide, BridgeSide]
    sides[0].other = sides[1]
    sides[1].other = sides[0]
    const unused: OpenedDevice[] = []
    try {
      for (const index of [0, 1] as const) unused.push(await openDevice(index))
      for (const index of [0, 1] as const) {
        const port = await DevicePort.open(options.locators[index], unused[0] as OpenedDevice, sides[index], signal)
        unused.shift()
        ends.push({ name: index === 0 ? 'a' : 'b', side: sides[index], port })
      }
      for (const { port } of ends) await port.settled
    } catch (error) {
      await Promise.allSettled(ends.map(({ port }) => port.stop()))
      for (const device of unused) await device.release()
      throw error
    }
    ready = true
    onEvent({ event: 'ready', name: options.name, ports: ends.map(({ port }) => readyPort(port)) })
    return new BridgeSession(options.name, ends as [End, End], frames)
  }

  /** The first device, and the second one as its `peer`. */
  describe(): SessionDescription {
    const [a, b] = this.#ends
    return { ...a.port.describe(), peer: b.port.describe() }
  }

  async refresh(): Promise<void> {}

  /** The drivers' counters, those of the first device with `a_` in front, those of the second with `b_`. */
  stats(): Record<string, number> {
    const [a, b] = this.#ends
    const stats = { ...a.side.counters.snapshot('a_to_b'), ...b.side.counters.snapshot('b_to_a') }
    for (const { name, port } of this.#ends)
      for (const [key, value] of Object.entries(port.stats())) stats[`${name}_${key}`] = value
    return stats
  }

  /** Packets are shown from the first device: `rx` came from it, `tx` goes to it. */
  attachCapture(listener: FrameListener): () => void {
    return this.#frames.attach(listener)
  }

  /** Takes no more frames, lets those in the rings leave (2 s at most), and resets both devices. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    for (const { side } of this.#ends) side.stopReceive()
    const results = await Promise.allSettled(this.#ends.map(({ port }) => port.stop()))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }
}

function readyPort(port: DevicePort): Extract<SessionEvent, { event: 'ready'; ports: unknown }>['ports'][number] {
  const { locator, device, net } = port.describe()
  const { features, transport, vectors } = device
  return { device: locator, mac: net.mac, features, transport, vectors }
}
