import { type UsedBatch, usedBatch, type Virtqueue } from '@virtio-ts/core'
import { type DmaRegion, deviceAddress } from '@virtio-ts/memory'

export interface ReceiveOptions {
  readonly queue: Virtqueue
  readonly memory: Pick<DmaRegion, 'bytes' | 'deviceAddress' | 'length'>
  readonly buffers: number
  readonly polled: boolean
  /** Takes bytes that came, which are its own. @returns whether it wants more now */
  readonly sink: (bytes: Buffer) => boolean
}

/**
 * What comes in through one port. The device gets buffers only while somebody wants data, and what it has filled stays where it is until
 * then: data that nobody reads waits in the device, and whoever sends it notices.
 * @see VIRTIO 1.3 § 5.3.6.1 "Driver Requirements: Device Operation"
 */
export class ReceivePath {
  readonly #options: ReceiveOptions
  readonly #queue: Virtqueue
  readonly #bufferSize: number
  readonly #batch: UsedBatch = usedBatch(1)
  /** Buffers that the device does not have. */
  readonly #idle: number[]
  #wanting = false
  #resumeScheduled = false
  #bytes = 0

  constructor(options: ReceiveOptions) {
    this.#options = options
    this.#queue = options.queue
    this.#bufferSize = Math.floor(options.memory.length / options.buffers)
    this.#idle = Array.from({ length: options.buffers }, (_, buffer) => buffer)
  }

  /** Bytes received. */
  get bytes(): number {
    return this.#bytes
  }

  /** Somebody wants data, until the sink says otherwise. */
  want(): void {
    this.#wanting = true
    this.service()
  }

  /** Nobody wants data any more. */
  stop(): void {
    this.#wanting = false
  }

  /** Hands over what has come, wanted or not, and gives the device nothing new. */
  drain(): void {
    for (let left = this.#options.buffers; left > 0 && this.#take(true); left--);
    this.#wanting = false
  }

  /** Forgets what has come. */
  discard(): void {
    this.#wanting = false
    for (let left = this.#options.buffers; left > 0 && this.#take(false); left--);
  }

  /** Hands over what has come, as long as it is wanted, and gives buffers back. Never throws. */
  service(): void {
    for (let budget = this.#options.buffers; this.#wanting; ) {
      while (this.#wanting && budget > 0 && this.#take(true)) budget--
      if (!this.#wanting || this.#queue.broken) return
      this.#post()
      if (budget === 0) return this.#resumeLater()
      if (this.#options.polled || !this.#queue.enableUsedNotifications()) return
    }
  }

  #take(heard: boolean): boolean {
    if (this.#queue.popUsed(this.#batch) === 0) return false
    const buffer = this.#batch.cookies[0]!
    const written = this.#batch.written[0]!
    this.#idle.push(buffer)
    if (!heard || written === 0) return true
    const at = buffer * this.#bufferSize
    this.#bytes += written
    // A copy: the buffer goes back to the device, and the device may write to it at any time.
    if (!this.#options.sink(Buffer.from(this.#options.memory.bytes.subarray(at, at + written)))) this.#wanting = false
    return true
  }

  #post(): void {
    const { memory } = this.#options
    for (let buffer = this.#idle.pop(); buffer !== undefined; buffer = this.#idle.pop()) {
      const address = deviceAddress(memory.deviceAddress + buffer * this.#bufferSize)
      if (this.#queue.addWritable(address, this.#bufferSize, buffer)) continue
      this.#idle.push(buffer)
      break
    }
    this.#queue.publish()
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
