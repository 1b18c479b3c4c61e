// @ts-check
// What a program does that sends and receives as fast as it can, on the driver's public batch API: an ordinary class, nothing inlined by hand.
import { pinToDriverCpu, ran } from './machine/cores.mjs'

/** @typedef {import('./machine/windows.mjs').Window} Window */
/** @typedef {import('@virtio-ts/driver-net').NetDriver} NetDriver */
/** A queue pair, or a driver of one. @typedef {Pick<NetDriver, 'reserve' | 'frameOffset' | 'commit' | 'publish' | 'receive'>} Pair */

/** Turns between two looks at the clock, which costs as much as a few packets. */
const TURNS = 64

export class PacketLoop {
  /** @param {Uint8Array} bytes the driver's @param {readonly Pair[]} pairs served in turn @param {{ length: number, batch?: number }} options */
  constructor(bytes, pairs, { length, batch = 32 }) {
    this.bytes = bytes
    this.words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 3)
    this.halfWords = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2)
    this.pairs = pairs
    this.length = length
    this.batch = batch
    this.frame = new Uint8Array(Math.max(64, length))
    // To a unicast address, from one, of an experimental type.
    this.frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5])
    this.frameWords = new BigUint64Array(this.frame.buffer, 0, 8)
    this.seen = 0
    /** @param {import('@virtio-ts/driver-net').ReceivedPacket} packet */
    this.sink = (packet) => {
      this.seen ^= /** @type {number} */ (this.halfWords[/** @type {number} */ (packet.segmentOffsets[0]) >> 2])
    }
  }

  /** @param {Pair} pair @returns {number} packets sent: a batch, or as many as there is room for */
  send(pair) {
    const { length, batch } = this
    let sent = 0
    while (sent < batch) {
      const slot = pair.reserve(length)
      if (slot < 0) break
      this.fill(pair.frameOffset(slot))
      pair.commit(slot, length)
      sent++
    }
    if (sent > 0) pair.publish()
    return sent
  }

  /** Eight stores for the small packet, which `set` takes three times as long for. @param {number} offset a multiple of 8 */
  fill(offset) {
    if (this.length !== 64) {
      this.bytes.set(this.frame, offset)
      return
    }
    const to = this.words
    const from = /** @type {bigint[]} */ (/** @type {unknown} */ (this.frameWords))
    const at = offset >> 3
    to[at] = from[0]
    to[at + 1] = from[1]
    to[at + 2] = from[2]
    to[at + 3] = from[3]
    to[at + 4] = from[4]
    to[at + 5] = from[5]
    to[at + 6] = from[6]
    to[at + 7] = from[7]
  }

  /** @param {Pair} pair */
  transmit(pair) {
    return this.send(pair)
  }

  /** @param {Pair} pair */
  receive(pair) {
    return pair.receive(this.sink, this.batch)
  }

  /** @param {Pair} pair @returns {number} packets that came back */
  roundTrip(pair) {
    this.send(pair)
    return pair.receive(this.sink, this.batch)
  }

  /**
   * @param {'transmit' | 'receive' | 'roundTrip'} mode @param {number} milliseconds
   * @param {() => number} deviceRan milliseconds the other side's thread has run @returns {Window}
   */
  window(mode, milliseconds, deviceRan) {
    const driverBefore = ran(process.pid)
    const deviceBefore = deviceRan()
    const { packets, elapsed, polls, empty } = this.run(mode, milliseconds)
    return {
      packets,
      elapsed,
      polls,
      empty,
      driverRan: ran(process.pid) - driverBefore,
      deviceRan: deviceRan() - deviceBefore,
    }
  }

  /** @param {'transmit' | 'receive' | 'roundTrip'} mode @param {number} milliseconds */
  run(mode, milliseconds) {
    const { pairs } = this
    let packets = 0
    let polls = 0
    let empty = 0
    const start = performance.now()
    let elapsed = 0
    do {
      for (let turn = 0; turn < TURNS; turn++) {
        for (let i = 0; i < pairs.length; i++) {
          const pair = /** @type {Pair} */ (pairs[i])
          const count =
            mode === 'transmit' ? this.transmit(pair) : mode === 'receive' ? this.receive(pair) : this.roundTrip(pair)
          packets += count
          polls++
          if (count === 0) empty++
        }
      }
      elapsed = performance.now() - start
    } while (elapsed < milliseconds)
    return { packets, elapsed, polls, empty }
  }

  /**
   * Warms up, then measures; the thread is bound to its core from here on.
   * @param {'transmit' | 'receive' | 'roundTrip'} mode @param {{ windows: number, milliseconds: number }} effort @param {() => number} deviceRan
   * @returns {Window[]}
   */
  measure(mode, { windows, milliseconds }, deviceRan) {
    pinToDriverCpu()
    this.run(mode, 400)
    return Array.from({ length: windows }, () => this.window(mode, milliseconds, deviceRan))
  }
}
