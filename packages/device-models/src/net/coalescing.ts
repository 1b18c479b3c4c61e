import { NetControl, type NetFeatureName } from '@virtio-ts/spec'
import { Rules } from '../rules.ts'
import { controlQueue, type NetState, negotiated } from './net-state.ts'

const { OK, ERR, NOTF_COAL } = NetControl

export interface CoalescingState {
  readonly maxPackets: number
  readonly maxMicroseconds: number
}

const NONE: CoalescingState = { maxPackets: 0, maxMicroseconds: 0 }

/**
 * What the driver said of how long notifications may wait. This device obeys by not waiting at all, as it may.
 * @see VIRTIO 1.3 § 5.1.6.5.9 "Notifications Coalescing"
 */
export class CoalescingParameters {
  readonly #state: NetState
  /** By virtqueue index. */
  readonly #queues = new Map<number, CoalescingState>()

  constructor(state: NetState) {
    this.#state = state
  }

  of(queue: number): CoalescingState {
    return this.#queues.get(queue) ?? NONE
  }

  reset(): void {
    this.#queues.clear()
  }

  /** @returns the acknowledgement, and behind it the result if there is one */
  command(command: number, data: Uint8Array): Uint8Array {
    if (command === NOTF_COAL.TX_SET || command === NOTF_COAL.RX_SET) return this.#setAll(command, data)
    if (command !== NOTF_COAL.VQ_SET && command !== NOTF_COAL.VQ_GET) return Uint8Array.of(ERR)
    const setting = command === NOTF_COAL.VQ_SET
    if (!this.#allowed('VQ_NOTF_COAL') || data.length !== (setting ? 12 : 4)) return Uint8Array.of(ERR)
    const queue = (data[0] ?? 0) | ((data[1] ?? 0) << 8)
    if (queue >= controlQueue(this.#state) || !this.#state.host?.ring(queue)) {
      this.#state.host?.violation(Rules.NET_COALESCING, `queue ${queue} is no enabled receive or transmit queue`)
      return Uint8Array.of(ERR)
    }
    if (setting) {
      this.#queues.set(queue, parse(data, 4))
      return Uint8Array.of(OK)
    }
    const answer = new Uint8Array(9)
    const view = new DataView(answer.buffer)
    const { maxPackets, maxMicroseconds } = this.of(queue)
    answer[0] = OK
    view.setUint32(1, maxPackets, true)
    view.setUint32(5, maxMicroseconds, true)
    return answer
  }

  /** VIRTIO 1.3 § 5.1.6.5.9.6 "Device Requirements: Notifications Coalescing": those of single queues are overwritten. */
  #setAll(command: number, data: Uint8Array): Uint8Array {
    if (!this.#allowed('NOTF_COAL') || data.length !== 8) return Uint8Array.of(ERR)
    const parameters = parse(data, 0)
    const odd = command === NOTF_COAL.TX_SET ? 1 : 0
    for (let pair = 0; pair < this.#state.pairs; pair++) this.#queues.set(2 * pair + odd, parameters)
    return Uint8Array.of(OK)
  }

  #allowed(name: NetFeatureName): boolean {
    if (negotiated(this.#state, name)) return true
    this.#state.host?.violation(Rules.NET_COALESCING, `a coalescing command without ${name}`)
    return false
  }
}

function parse(data: Uint8Array, at: number): CoalescingState {
  const view = new DataView(data.buffer, data.byteOffset + at)
  return { maxPackets: view.getUint32(0, true), maxMicroseconds: view.getUint32(4, true) }
}
