import type { DmaRegion } from '@virtio-ts/memory'
import { BlockRequest, BlockSegment } from '@virtio-ts/spec'

/** Ranges that one request can name here, whatever the device allows. */
export const MOST_SEGMENTS = 16

const HEADER = 0
const SEGMENTS: number = BlockRequest.HEADER_LENGTH
/** What the device writes keeps a distance from what it reads. */
const ANSWER = 320
const ANSWER_LENGTH = 32
const STATUS: number = ANSWER + ANSWER_LENGTH
export const SLOT_LENGTH = 384

/** A status that no device may write: so one that was not written is seen. */
const NOT_WRITTEN = 0xff
const HIGH_WORD = 2 ** 32

/** A stretch of a region. */
export interface Slice {
  readonly region: DmaRegion
  readonly offset: number
  readonly length: number
}

/** A range as it goes on the wire; in 512-byte sectors. */
export interface Segment {
  readonly sector: number
  readonly count: number
  readonly unmap: boolean
}

/** Memory for what every request has besides its data: header, status, and short data of its own. */
export class ControlSlot {
  readonly header: Slice
  readonly status: Slice
  readonly #region: DmaRegion
  readonly #offset: number
  readonly #view: DataView

  /** @param offset in the region, of `SLOT_LENGTH` bytes */
  constructor(region: DmaRegion, offset: number) {
    this.#region = region
    this.#offset = offset
    this.#view = new DataView(region.bytes.buffer, region.bytes.byteOffset + offset, SLOT_LENGTH)
    this.header = { region, offset: offset + HEADER, length: BlockRequest.HEADER_LENGTH }
    this.status = { region, offset: offset + STATUS, length: 1 }
  }

  /** Writes the header, and takes the last request's status away. @param sector in 512-byte units, below 2^53 */
  prepare(type: number, sector: number): void {
    this.#view.setUint32(HEADER + BlockRequest.TYPE, type, true)
    this.#view.setUint32(HEADER + BlockRequest.RESERVED, 0, true)
    this.#set64(HEADER + BlockRequest.SECTOR, sector)
    this.#view.setUint8(STATUS, NOT_WRITTEN)
  }

  /** The status byte, which the device wrote and may write again: read once for each request. */
  takeStatus(): number {
    return this.#view.getUint8(STATUS)
  }

  /** Writes the ranges. @returns what to send */
  putSegments(segments: readonly Segment[]): Slice {
    let at = SEGMENTS
    for (const { sector, count, unmap } of segments) {
      this.#set64(at + BlockSegment.SECTOR, sector)
      this.#view.setUint32(at + BlockSegment.NUM_SECTORS, count, true)
      this.#view.setUint32(at + BlockSegment.FLAGS, unmap ? BlockSegment.F_UNMAP : 0, true)
      at += BlockSegment.LENGTH
    }
    return { region: this.#region, offset: this.#offset + SEGMENTS, length: at - SEGMENTS }
  }

  /** Room for a short answer, of zeroes. */
  answer(length: number): Slice {
    const at = this.#offset + ANSWER
    this.#region.bytes.fill(0, at, at + length)
    return { region: this.#region, offset: at, length }
  }

  /** A copy of the short answer. */
  takeAnswer(length: number): Uint8Array {
    const at = this.#offset + ANSWER
    return this.#region.bytes.slice(at, at + length)
  }

  #set64(at: number, value: number): void {
    // The store keeps the lower 32 bits; the remainder of a division by 2^32 costs as much as all the rest here.
    this.#view.setUint32(at, value, true)
    this.#view.setUint32(at + 4, value < HIGH_WORD ? 0 : Math.floor(value / HIGH_WORD), true)
  }
}
