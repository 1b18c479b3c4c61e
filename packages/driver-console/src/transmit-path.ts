import { type UsedBatch, usedBatch, type Virtqueue } from '@virtio-ts/core'
import { type DmaRegion, deviceAddress } from '@virtio-ts/memory'
import { callGuarded } from './call-guarded.ts'

export interface TransmitOptions {
  readonly queue: Virtqueue
  readonly memory: Pick<DmaRegion, 'bytes' | 'deviceAddress' | 'length'>
  readonly buffers: number
  readonly polled: boolean
}

/** Called once: with why not, if so. */
type WhenDone = (error?: Error) => void

interface PendingWrite {
  readonly bytes: Uint8Array
  done: number
  readonly whenWritten: WhenDone
}

/**
 * What goes out through one port. One write at a time is copied into buffers as they come free; it counts as written when the device has
 * been given all of it, so that a peer which does not read is noticed after as many bytes as there are buffers.
 * @see VIRTIO 1.3 § 5.3.6.1 "Driver Requirements: Device Operation"
 */
export class TransmitPath {
  readonly #options: TransmitOptions
  readonly #queue: Virtqueue
  readonly #bufferSize: number
  readonly #batch: UsedBatch
  readonly #idle: number[]
  #pending: PendingWrite | undefined
  #whenFlushed: WhenDone | undefined
  #resumeScheduled = false
  #bytes = 0

  constructor(options: TransmitOptions) {
    this.#options = options
    this.#queue = options.queue
    this.#bufferSize = Math.floor(options.memory.length / options.buffers)
    this.#batch = usedBatch(options.buffers)
    this.#idle = Array.from({ length: options.buffers }, (_, buffer) => buffer)
    this.#queue.disableUsedNotifications()
  }

  /** Bytes given to the device. */
  get bytes(): number {
    return this.#bytes
  }

  /** Whether something is with the device, or waits to get there. */
  get busy(): boolean {
    this.#reclaim()
    return this.#pending !== undefined || this.#idle.length < this.#options.buffers
  }

  /** @param whenWritten called when all of it was given to the device, maybe before this returns, or with the reason of `abandon()` */
  write(bytes: Uint8Array, whenWritten: WhenDone): void {
    this.#pending = { bytes, done: 0, whenWritten }
    this.service()
  }

  /** @param whenFlushed called when the device has taken all that it was given, or with the reason of `abandon()` */
  flush(whenFlushed: WhenDone): void {
    this.#whenFlushed = whenFlushed
    this.service()
  }

  /** Ends the write and the flush that wait. What the device was given stays with it until it gives it back. */
  abandon(reason: Error): void {
    const waiting = [this.#pending?.whenWritten, this.#whenFlushed]
    this.#pending = undefined
    this.#whenFlushed = undefined
    for (const whenDone of waiting) if (whenDone) callGuarded(() => whenDone(reason))
  }

  /** Takes back what the device has used, and goes on with what waits. Never throws. */
  service(): void {
    for (let budget = 2 * this.#options.buffers; ; budget--) {
      this.#reclaim()
      this.#fill()
      this.#tellFlushed()
      const waiting = this.#pending !== undefined || this.#whenFlushed !== undefined
      if (this.#queue.broken || this.#options.polled) return
      // Used buffers are taken back when they are needed: nobody has to be told of them before.
      if (!waiting) return this.#queue.disableUsedNotifications()
      if (!this.#queue.enableUsedNotifications()) return
      if (budget === 0) return this.#resumeLater()
    }
  }

  #reclaim(): void {
    const count = this.#queue.popUsed(this.#batch)
    for (let i = 0; i < count; i++) this.#idle.push(this.#batch.cookies[i]!)
  }

  #fill(): void {
    const pending = this.#pending
    if (!pending) return
    const { memory } = this.#options
    while (pending.done < pending.bytes.length && !this.#queue.broken) {
      const buffer = this.#idle.pop()
      if (buffer === undefined) break
      const at = buffer * this.#bufferSize
      const part = pending.bytes.subarray(pending.done, pending.done + this.#bufferSize)
      memory.bytes.set(part, at)
      if (!this.#queue.addReadable(deviceAddress(memory.deviceAddress + at), part.length, buffer)) {
        this.#idle.push(buffer)
        break
      }
      pending.done += part.length
      this.#bytes += part.length
    }
    this.#queue.publish()
    if (pending.done < pending.bytes.length) return
    this.#pending = undefined
    callGuarded(pending.whenWritten)
  }

  #tellFlushed(): void {
    if (!this.#whenFlushed || this.#pending || this.#idle.length < this.#options.buffers) return
    const told = this.#whenFlushed
    this.#whenFlushed = undefined
    callGuarded(told)
  }

  #resumeLater(): void {
    if (this.#resumeScheduled) return
    this.#resumeScheduled = true
    setImmediate(() => {
      this.#resumeScheduled = false
      this.service()
    })
  }
}
