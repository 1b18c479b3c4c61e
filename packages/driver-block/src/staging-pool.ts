import type { DmaRegion } from '@virtio-ts/memory'
import { ControlSlot, SLOT_LENGTH, type Slice } from './control-slot.ts'

/** Memory of one request. Goes back when both have let go of it: who made the request, and the device. */
export class Lease {
  readonly slot: ControlSlot
  /** Of equal length, to be filled one after the other. */
  readonly buffers: readonly Slice[]
  readonly #pool: StagingPool
  #holders = 2

  constructor(pool: StagingPool, slot: ControlSlot, buffers: readonly Slice[]) {
    this.#pool = pool
    this.slot = slot
    this.buffers = buffers
  }

  letGo(): void {
    if (--this.#holders === 0) this.#pool.takeBack(this)
  }
}

export interface StagingPoolOptions {
  readonly allocate: (length: number) => DmaRegion
  /** Requests at a time. */
  readonly slots: number
  /** Bytes of memory for data, at most; rounded to whole buffers. */
  readonly memory: number
  /** Bytes of one buffer. */
  readonly bufferLength: number
}

interface Waiter {
  readonly buffers: number
  readonly serve: (lease: Lease) => void
  readonly refuse: (reason: unknown) => void
}

const none: readonly Slice[] = []
const SLOTS_AT_A_TIME = 32
const CHUNK = 256 * 1024

/**
 * Memory the device can reach, for requests that bring none: taken as it is needed, up to a limit, and used again. Who finds none
 * waits, and is served in turn, so that many small requests do not keep a large one waiting for ever.
 */
export class StagingPool {
  readonly #options: StagingPoolOptions
  readonly #slots: ControlSlot[] = []
  readonly #buffers: Slice[] = []
  readonly #waiters = new Set<Waiter>()
  #slotsMade = 0
  #buffersMade = 0
  #slotLimit: number
  #bufferLimit: number
  #leases = 0
  #shortage: unknown
  #closed: { readonly reason: unknown } | undefined

  constructor(options: StagingPoolOptions) {
    this.#options = options
    this.#slotLimit = options.slots
    this.#bufferLimit = Math.max(1, Math.floor(options.memory / options.bufferLength))
  }

  get bufferLength(): number {
    return this.#options.bufferLength
  }

  /** Buffers there can be: a request cannot have more. */
  get bufferLimit(): number {
    return this.#bufferLimit
  }

  /** Requests that hold memory: also those given up on by their callers and not by the device. */
  get leases(): number {
    return this.#leases
  }

  get waiting(): number {
    return this.#waiters.size
  }

  /** @returns undefined when it is somebody else's turn, or there is none: then `acquire` */
  tryAcquire(buffers: number): Lease | undefined {
    if (this.#closed) throw this.#closed.reason
    return this.#waiters.size === 0 && this.#provide(buffers) ? this.#lease(buffers) : undefined
  }

  /**
   * Waits for its turn, and for memory.
   * Rejects with the signal's reason, with what `close()` was given, or with a DmaError when there is not enough memory at all.
   */
  acquire(buffers: number, signal: AbortSignal | undefined): Promise<Lease> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const lease = this.tryAcquire(buffers)
      if (lease) {
        resolve(lease)
        return
      }
      const end = (): void => {
        this.#waiters.delete(waiter)
        signal?.removeEventListener('abort', abort)
      }
      const abort = (): void => {
        waiter.refuse(signal?.reason)
        // Those behind may have been waiting for nothing but their turn.
        this.#serve()
      }
      const waiter: Waiter = {
        buffers,
        serve: (lease) => {
          end()
          resolve(lease)
        },
        refuse: (reason) => {
          end()
          reject(reason)
        },
      }
      this.#waiters.add(waiter)
      signal?.addEventListener('abort', abort)
    })
  }

  /** Only for leases. */
  takeBack({ slot, buffers }: Lease): void {
    this.#leases--
    this.#slots.push(slot)
    if (buffers.length === 1) this.#buffers.push(buffers[0]!)
    else if (buffers.length > 0) this.#buffers.push(...buffers)
    if (this.#waiters.size > 0) this.#serve()
  }

  /** Turns away everyone who waits, and everyone who comes. */
  close(reason: unknown): void {
    this.#closed ??= { reason }
    for (const waiter of [...this.#waiters]) waiter.refuse(this.#closed.reason)
  }

  #serve(): void {
    if (this.#closed) return
    for (const waiter of this.#waiters) {
      try {
        if (!this.#provide(waiter.buffers)) return
        waiter.serve(this.#lease(waiter.buffers))
      } catch (error) {
        waiter.refuse(error)
      }
    }
  }

  #lease(buffers: number): Lease {
    this.#leases++
    const slot = this.#slots.pop()!
    if (buffers === 0) return new Lease(this, slot, none)
    return new Lease(this, slot, buffers === 1 ? [this.#buffers.pop()!] : this.#buffers.splice(-buffers))
  }

  /** Whether there is a slot, and as many buffers; makes more as long as it may. */
  #provide(buffers: number): boolean {
    if (this.#slots.length === 0) this.#makeSlots()
    // Memory turned out to be shorter than it was when this request was cut to its size.
    if (buffers > this.#bufferLimit) throw this.#shortage
    while (this.#buffers.length < buffers && this.#buffersMade < this.#bufferLimit) this.#makeBuffers(buffers)
    return this.#slots.length > 0 && this.#buffers.length >= buffers
  }

  #makeSlots(): void {
    const count = Math.min(SLOTS_AT_A_TIME, this.#slotLimit - this.#slotsMade)
    if (count === 0) return
    const region = this.#allocate(count * SLOT_LENGTH, this.#slotsMade > 0)
    if (!region) {
      this.#slotLimit = this.#slotsMade
      return
    }
    this.#slotsMade += count
    for (let n = 0; n < count; n++) this.#slots.push(new ControlSlot(region, n * SLOT_LENGTH))
  }

  #makeBuffers(needed: number): void {
    const length = this.#options.bufferLength
    const count = Math.min(Math.max(1, Math.floor(CHUNK / length)), this.#bufferLimit - this.#buffersMade)
    const region = this.#allocate(count * length, this.#buffersMade >= needed)
    if (!region) {
      this.#bufferLimit = this.#buffersMade
      return
    }
    this.#buffersMade += count
    for (let n = 0; n < count; n++) this.#buffers.push({ region, offset: n * length, length })
  }

  /** @param enough whether one can go on, more slowly, with what there is */
  #allocate(length: number, enough: boolean): DmaRegion | undefined {
    try {
      return this.#options.allocate(length)
    } catch (error) {
      if (!enough) throw error
      this.#shortage = error
      return undefined
    }
  }
}
