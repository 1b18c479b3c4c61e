import { NetHeader } from '@virtio-ts/spec'
import { NetHeaderFields } from './net-header.ts'
import { HEAD_LENGTH } from './net-limits.ts'

/** Bytes that `NetOptions.head` needs. */
export const RECEIVED_HEAD_LENGTH: number = NetHeader.LENGTH + HEAD_LENGTH

/**
 * A packet inside `receive()`'s sink, and only there: one object, filled again for every packet. Its frame is where the device put it,
 * in one piece or several. The device can still write there, so whoever looks at a field twice copies the frame first.
 */
export class ReceivedPacket {
  /** The checked header, 12 bytes whatever the device's header has, num_buffers 0: what a TAP interface takes as it is. */
  readonly header: Uint8Array
  /** The same, as numbers. */
  readonly fields: NetHeaderFields = new NetHeaderFields()
  /**
   * The header, and right behind it a private copy of the frame's first `headLength` bytes: what the header was checked
   * against. Whoever passes on a packet to be segmented takes those bytes from here rather than from the segments.
   */
  readonly head: Uint8Array
  headLength = 0
  /** Bytes of the frame. */
  length = 0
  segmentCount = 0
  /** Where the pieces of the whole frame are in the driver's `bytes`, and how long they are. */
  readonly segmentOffsets: Int32Array = new Int32Array(0)
  readonly segmentLengths: Int32Array = new Int32Array(0)
  readonly #bytes: Uint8Array

  /** @param head at least `RECEIVED_HEAD_LENGTH` bytes that no device reaches */
  constructor(bytes: Uint8Array, head: Uint8Array, maxSegments: number) {
    if (head.length < RECEIVED_HEAD_LENGTH)
      throw new RangeError(`head has ${head.length} bytes, ${RECEIVED_HEAD_LENGTH} are needed`)
    this.#bytes = bytes
    this.head = head
    this.header = head.subarray(0, NetHeader.LENGTH)
    // Its owner may have given it to a driver before this one; an ordinary packet's header is not written.
    this.header.fill(0)
    this.segmentOffsets = new Int32Array(maxSegments)
    this.segmentLengths = new Int32Array(maxSegments)
  }

  /**
   * Copies the frame to `at` of `target`: the bytes that were checked, then the rest.
   * @returns its length
   * @throws RangeError when it does not fit
   */
  copyTo(target: Uint8Array, at = 0): number {
    if (this.segmentCount === 1) {
      const offset = this.segmentOffsets[0]!
      target.set(this.#bytes.subarray(offset, offset + this.length), at)
    } else {
      let to = at
      for (let i = 0; i < this.segmentCount; i++) {
        const offset = this.segmentOffsets[i]!
        target.set(this.#bytes.subarray(offset, offset + this.segmentLengths[i]!), to)
        to += this.segmentLengths[i]!
      }
    }
    if (this.headLength > 0) target.set(this.head.subarray(NetHeader.LENGTH, NetHeader.LENGTH + this.headLength), at)
    return this.length
  }

  /** A copy of the frame. */
  toFrame(): Uint8Array {
    const frame = new Uint8Array(this.length)
    this.copyTo(frame)
    return frame
  }
}
