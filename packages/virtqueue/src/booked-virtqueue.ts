import type { DeviceAddress, DmaRegion } from '@virtio-ts/memory'
import type { VirtioError } from '@virtio-ts/spec'
import type { LaneRow, ReadableLane, WritableLane } from './buffer-lane.ts'
import type { ChainBuilder } from './chain-builder.ts'
import type { QueueBooks } from './queue-books.ts'
import type { OwnedVirtqueue, QueueAddresses, UsedBatch, VirtqueueStats } from './virtqueue.ts'
import type { VirtqueueTransfer } from './virtqueue-transfer.ts'

/** The memory of a queue of either format. */
export interface QueueMemory {
  readonly addresses: QueueAddresses
  readonly regions: readonly DmaRegion[]
  free(): void
  quarantine(): void
}

/** What virtqueues of both formats have in common: everything but the ring. */
export abstract class BookedVirtqueue implements OwnedVirtqueue {
  readonly index: number = 0
  readonly size: number = 0
  readonly maxChain: number = 0
  readonly addresses: QueueAddresses
  readonly #books: QueueBooks
  readonly #memory: QueueMemory

  constructor(books: QueueBooks, memory: QueueMemory) {
    this.index = books.origin.queue
    this.size = books.size
    this.maxChain = books.size
    this.addresses = memory.addresses
    this.#books = books
    this.#memory = memory
  }

  get free(): number {
    return this.#books.freeCount
  }

  get inFlight(): number {
    return this.#books.inFlight
  }

  get broken(): VirtioError | undefined {
    return this.#books.broken
  }

  get stats(): VirtqueueStats {
    return this.#books.stats
  }

  get memory(): readonly DmaRegion[] {
    return this.#memory.regions
  }

  get transferred(): boolean {
    return this.#books.transferred
  }

  abstract addReadable(address: DeviceAddress, length: number, cookie: number): boolean
  abstract addWritable(address: DeviceAddress, length: number, cookie: number): boolean
  abstract addChain(chain: ChainBuilder, cookie: number): boolean
  abstract openReadableLane(row: LaneRow): ReadableLane
  abstract openWritableLane(row: LaneRow): WritableLane
  abstract publish(): void
  abstract notifyAlways(): void
  abstract popUsed(batch: UsedBatch): number
  abstract hasUsed(): boolean
  abstract disableUsedNotifications(): void
  abstract enableUsedNotifications(): boolean
  abstract transfer(): VirtqueueTransfer

  fail(reason: VirtioError): void {
    this.#books.fail(reason)
  }

  onBroken(listener: (reason: VirtioError) => void): void {
    this.#books.onBroken(listener)
  }

  reset(): Int32Array {
    return this.#books.reset()
  }

  release(): void {
    if (this.#books.retire()) this.#memory.free()
  }

  quarantine(): void {
    if (this.#books.retire()) this.#memory.quarantine()
  }
}
