// @ts-check
// The same ring as one writes it first in JavaScript: an object a packet, BigInt addresses, DataView, a Map of tokens.

/** @typedef {{ address: bigint, length: number, token: object }} Packet */

export class NaiveRing {
  /** @param {number} size */
  constructor(size) {
    this.size = size
    this.memory = new DataView(new ArrayBuffer(size * 16 + size * 2 + 6 + size * 8 + 6))
    this.avail = size * 16
    this.used = this.avail + size * 2 + 6
    /** @type {Map<number, Packet>} */
    this.tokens = new Map()
    this.free = Array.from({ length: size }, (_, i) => i)
    this.availIndex = 0
    this.usedIndex = 0
    this.lastUsed = 0
  }

  /** @param {Packet} packet */
  add(packet) {
    const head = this.free.pop()
    if (head === undefined) throw new Error('ring full')
    this.memory.setBigUint64(head * 16, packet.address, true)
    this.memory.setUint32(head * 16 + 8, packet.length, true)
    this.memory.setUint16(head * 16 + 12, 2, true)
    this.memory.setUint16(this.avail + 4 + (this.availIndex % this.size) * 2, head, true)
    this.availIndex = (this.availIndex + 1) & 0xffff
    this.memory.setUint16(this.avail + 2, this.availIndex, true)
    this.tokens.set(head, packet)
  }

  /** @param {number} count */
  use(count) {
    for (let i = 0; i < count; i++) {
      const slot = this.usedIndex % this.size
      const head = this.memory.getUint16(this.avail + 4 + slot * 2, true)
      this.memory.setUint32(this.used + 4 + slot * 8, head, true)
      this.memory.setUint32(this.used + 8 + slot * 8, 64, true)
      this.usedIndex = (this.usedIndex + 1) & 0xffff
    }
    this.memory.setUint16(this.used + 2, this.usedIndex, true)
  }

  take() {
    if (this.lastUsed === this.memory.getUint16(this.used + 2, true)) return undefined
    const slot = this.lastUsed % this.size
    const head = this.memory.getUint32(this.used + 4 + slot * 8, true)
    const packet = this.tokens.get(head)
    this.tokens.delete(head)
    this.free.push(head)
    this.lastUsed = (this.lastUsed + 1) & 0xffff
    return packet && { token: packet.token, written: this.memory.getUint32(this.used + 8 + slot * 8, true) }
  }
}
