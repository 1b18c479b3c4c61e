// @ts-check
// What a program does that sends and receives as fast as it can, on the driver's public batch API: an ordinary class, nothing inlined by hand.

/** A queue pair. @typedef {import('@virtio-ts/driver-net').NetQueuePair} Pair */
/** @typedef {'transmit' | 'receive' | 'roundTrip'} Mode */
/** @typedef {[bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint]} Eight */

export class PacketLoop {
  /** @param {Pair} pair @param {{ length: number, batch?: number }} options bytes of a frame, packets a turn */
  constructor(pair, { length, batch = 32 }) {
    const { buffer, byteOffset, byteLength } = pair.bytes
    this.pair = pair
    this.bytes = pair.bytes
    this.words = new BigUint64Array(buffer, byteOffset, byteLength >> 3)
    this.halfWords = new Int32Array(buffer, byteOffset, byteLength >> 2)
    this.length = length
    this.batch = batch
    this.frame = new Uint8Array(length)
    // To a unicast address, from one, of an experimental type.
    this.frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5])
    this.frameWords = new BigUint64Array(this.frame.buffer, 0, 8)
    this.seen = 0
    /** @param {import('@virtio-ts/driver-net').ReceivedPacket} packet */
    this.sink = (packet) => {
      this.seen ^= /** @type {number} */ (this.halfWords[/** @type {number} */ (packet.segmentOffsets[0]) >> 2])
    }
  }

  /** @param {Mode} mode @returns {number} packets sent, or received where any are */
  turn(mode) {
    if (mode === 'transmit') return this.send()
    if (mode === 'roundTrip') this.send()
    return this.pair.receive(this.sink, this.batch)
  }

  /** @returns {number} packets sent: a batch, or as many as there is room for */
  send() {
    const { pair, length, batch } = this
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

  /** Eight stores for the small packet, which `set` takes five times as long for. @param {number} offset a multiple of 8 */
  fill(offset) {
    if (this.length !== 64) {
      this.bytes.set(this.frame, offset)
      return
    }
    const to = this.words
    const from = /** @type {Eight} */ (/** @type {unknown} */ (this.frameWords))
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
}
