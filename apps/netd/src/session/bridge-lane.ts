import type { ReceivedPacket } from '@virtio-ts/driver-net'
import type { CaptureDirection } from '../capture/packet-tap.ts'
import type { BridgeCounters } from './bridge-counters.ts'
import type { FrameTap } from './frame-tap.ts'
import type { PacketPair } from './packet-pair.ts'

/** Frames of one turn: enough to amortise the notification, few enough that the event loop stays answerable. */
const budget = 64

export interface BridgeLaneOptions {
  readonly from: PacketPair
  /** Where frames go; asked each turn, as that device may be away. */
  readonly to: () => PacketPair | undefined
  readonly counters: BridgeCounters
  readonly frames: FrameTap
  /** How a capture shows this lane's frames. */
  readonly direction: CaptureDirection
  readonly queue: number
  readonly polled: boolean
}

/**
 * Takes the frames that arrive on one queue pair and sends them on another device's: from ring to ring, one copy, with their headers,
 * which both drivers check. It never waits: where there is no room the frame is dropped, as a switch does it.
 */
export class BridgeLane {
  readonly #options: BridgeLaneOptions
  readonly #sink = (packet: ReceivedPacket): void => this.#pass(packet)
  #to: PacketPair | undefined
  #running = false
  #stopped = false

  constructor(options: BridgeLaneOptions) {
    this.#options = options
  }

  start(): void {
    if (this.#options.polled) return this.#poll()
    this.#options.from.onReceive(() => this.#run())
    this.#run()
  }

  stop(): void {
    this.#stopped = true
  }

  #run(): void {
    if (this.#running || this.#stopped) return
    this.#running = true
    if (this.#turn() || this.#options.from.armReceive()) {
      setImmediate(() => {
        this.#running = false
        this.#run()
      })
    } else this.#running = false
  }

  #poll(): void {
    if (this.#stopped) return
    this.#options.from.poll()
    this.#turn()
    setImmediate(() => this.#poll())
  }

  /** @returns true when there may be more at once */
  #turn(): boolean {
    this.#to = this.#options.to()
    const taken = this.#options.from.receive(this.#sink, budget)
    if (taken > 0) this.#to?.publish()
    return taken === budget
  }

  #pass(packet: ReceivedPacket): void {
    const { counters, frames, from, direction, queue } = this.#options
    if (frames.active) frames.received(packet, from.bytes, queue, direction)
    const to = this.#to
    if (to === undefined) counters.downDrops++
    else if (packet.length > to.maxFrameLength) counters.refusedDrops++
    else this.#send(to, packet)
  }

  #send(to: PacketPair, packet: ReceivedPacket): void {
    const { counters } = this.#options
    const slot = to.reserve(packet.length)
    if (slot < 0) {
      counters.fullDrops++
      return
    }
    packet.copyTo(to.bytes, to.frameOffset(slot))
    if (to.commit(slot, packet.length, packet.fields)) {
      counters.frames++
      counters.bytes += packet.length
    } else counters.refusedDrops++
  }
}
