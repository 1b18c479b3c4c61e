import { EventVector } from '@virtio-ts/pci/event-vector'
import type { RegisterBlock, Width } from './register-block.ts'

const ENTRY_LENGTH = 16
const VECTOR_CONTROL = 12
const MASKED = 1
/** Offset of the pending bit array behind the table, in the same BAR. */
export const PENDING_OFFSET = 0x800

/** The MSI-X table and its pending bits, and the descriptors that stand for the messages. */
export class MsixTable implements RegisterBlock {
  readonly length: number = 0x1000
  readonly entries: number
  readonly #table: DataView
  readonly #pending: Uint8Array
  #vectors: readonly EventVector[] = []
  #functionMasked = false

  constructor(entries: number) {
    this.entries = entries
    this.#table = new DataView(new ArrayBuffer(Math.max(1, entries) * ENTRY_LENGTH))
    this.#pending = new Uint8Array(entries)
    this.reset()
  }

  /** Makes a descriptor for each of the first `count` vectors, and unmasks them. */
  route(count: number): readonly EventVector[] {
    this.release()
    this.#vectors = Array.from({ length: count }, () => new EventVector())
    for (let entry = 0; entry < count; entry++) this.#setControl(entry, 0)
    return this.#vectors
  }

  release(): void {
    for (const vector of this.#vectors) vector.close()
    this.#vectors = []
    this.reset()
  }

  reset(): void {
    this.#pending.fill(0)
    for (let entry = 0; entry < this.entries; entry++)
      this.#table.setUint32(entry * ENTRY_LENGTH + VECTOR_CONTROL, MASKED, true)
  }

  set functionMasked(masked: boolean) {
    this.#functionMasked = masked
    for (let entry = 0; entry < this.entries; entry++) this.#deliverPending(entry)
  }

  /** Sends the message of one vector, or keeps it pending while masked. */
  signal(entry: number): void {
    if (entry >= this.entries) return
    if (this.#masked(entry)) this.#pending[entry] = 1
    else this.#vectors[entry]?.signal()
  }

  read(offset: number, width: Width): number {
    let value = 0
    for (let n = width - 1; n >= 0; n--) value = value * 256 + this.#byte(offset + n)
    return value
  }

  write(offset: number, width: Width, value: number): void {
    for (let n = 0; n < width; n++)
      if (offset + n < this.entries * ENTRY_LENGTH) this.#table.setUint8(offset + n, (value >>> (8 * n)) & 0xff)
    const entry = Math.floor(offset / ENTRY_LENGTH)
    if (entry < this.entries) this.#deliverPending(entry)
  }

  #byte(offset: number): number {
    if (offset < this.entries * ENTRY_LENGTH) return this.#table.getUint8(offset)
    const first = (offset - PENDING_OFFSET) * 8
    if (first < 0) return 0
    let byte = 0
    for (let bit = 0; bit < 8; bit++) byte |= (this.#pending[first + bit] ?? 0) << bit
    return byte
  }

  #masked(entry: number): boolean {
    return this.#functionMasked || (this.#table.getUint32(entry * ENTRY_LENGTH + VECTOR_CONTROL, true) & MASKED) !== 0
  }

  #setControl(entry: number, control: number): void {
    this.#table.setUint32(entry * ENTRY_LENGTH + VECTOR_CONTROL, control, true)
  }

  #deliverPending(entry: number): void {
    if (this.#pending[entry] === 0 || this.#masked(entry)) return
    this.#pending[entry] = 0
    this.#vectors[entry]?.signal()
  }
}
