import { Rules } from '../rules.ts'
import { type NetPacketHeader, netHeaderLength, parseNetHeader } from './net-header.ts'
import type { NetState } from './net-state.ts'
import type { Steering } from './steering.ts'
import { judgeTransmission, needsLegacyFraming } from './transmit-judge.ts'

/** Called with each packet of the driver: a copy, without the header, which is parsed, and the queue pair it came by. */
export type FrameListener = (frame: Uint8Array, header: NetPacketHeader, pair: number) => void

/** Takes packets off the transmit queue. @see VIRTIO 1.3 § 5.1.6.2 "Packet Transmission" */
export class TransmitPath {
  readonly #state: NetState
  readonly #steering: Steering
  readonly #listeners = new Set<FrameListener>()

  constructor(state: NetState, steering: Steering) {
    this.#state = state
    this.#steering = steering
  }

  onFrame(listener: FrameListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  run(pair: number): void {
    const ring = this.#state.host?.ring(2 * pair + 1)
    if (!ring) return
    ring.suppressNotifications()
    try {
      do {
        for (let chain = ring.take(); chain; chain = ring.take()) {
          const moment = { chain, headerLength: netHeaderLength(this.#state.host?.features ?? 0n), consume: true }
          this.#state.host?.show('transmit', moment)
          if (!moment.consume) {
            ring.untake([chain])
            ring.requestNotifications()
            return
          }
          const packet = chain.read()
          const framed = (chain.readable[0]?.length ?? 0) === moment.headerLength
          this.#judge(framed)
          ring.push(chain, 0)
          if (packet.length < moment.headerLength) {
            this.#state.counters.transmitErrors++
            this.#state.host?.violation(
              Rules.NET_TRANSMIT,
              `a packet of ${packet.length} bytes, shorter than its header of ${moment.headerLength}`,
            )
            continue
          }
          const header = parseNetHeader(packet.subarray(0, moment.headerLength))
          const frame = packet.slice(moment.headerLength)
          if (this.#state.host) judgeTransmission(this.#state.host, chain, header, frame.length, this.#state.config.mtu)
          this.#steering.sent(frame, pair)
          this.#pass(frame, header, pair)
        }
      } while (ring.requestNotifications())
    } finally {
      ring.flush()
    }
  }

  #judge(framed: boolean): void {
    const { host } = this.#state
    if (host && !framed && needsLegacyFraming(host.features))
      host.violation(
        Rules.NET_LEGACY_FRAMING,
        'transmit: the header is not in a descriptor of its own, without ANY_LAYOUT',
      )
  }

  #pass(frame: Uint8Array, header: NetPacketHeader, pair: number): void {
    const { counters, linkUp } = this.#state
    // Without a link there is nobody to pass it to; the driver gets its buffer back all the same.
    if (!linkUp) return
    counters.framesFromDriver++
    counters.bytesFromDriver += frame.length
    for (const listener of [...this.#listeners]) listener(frame, header, pair)
  }
}
