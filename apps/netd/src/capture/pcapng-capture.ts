import os from 'node:os'
import type { Writable } from 'node:stream'
import { netdVersion } from '../version.ts'
import { headerComment } from './header-comment.ts'
import { captureTime } from './capture-time.ts'
import type { CaptureDirection, CaptureSink, PacketTap } from './packet-tap.ts'
import { enhancedPacket, interfaceDescription, interfaceStatistics, sectionHeader } from './pcapng.ts'

/** What tcpdump takes: more than the largest frame segmentation offload makes. */
const defaultSnaplen = 262144

export interface PcapngCaptureOptions {
  /** The interface the packets belong to. */
  readonly interfaceName: string
  /** What is behind it, e.g. the device's locator. */
  readonly description: string
  readonly mac?: Uint8Array
  /** Bytes to keep of each packet. @defaultValue 262144 */
  readonly snaplen?: number
  /** Packets after which the capture ends by itself. */
  readonly count?: number
  /** Bytes that may wait for a slow reader before packets are dropped. @defaultValue 4 MiB */
  readonly maxBuffered?: number
  /** Called once, when the capture has ended: its count is reached, it was closed, or its output failed. */
  readonly onEnd?: (failure: Error | undefined) => void
}

/** How long a closing capture waits for its reader, in milliseconds. */
const closeLimit = 2000

/**
 * Writes packets as pcapng to a file, a pipe or a socket. The data plane never waits for the reader: what does not fit into
 * the buffer is dropped and counted, and the counts are in the capture (each packet's `epb_dropcount`, the closing statistics).
 */
export class PcapngCapture implements PacketTap, CaptureSink {
  readonly #output: Writable
  readonly #options: PcapngCaptureOptions
  readonly #snaplen: number
  readonly #maxBuffered: number
  readonly #start = captureTime()
  /** Blocks of this turn of the event loop, written together at its end. */
  #pending: Uint8Array[] = []
  #pendingBytes = 0
  #captured = 0
  #dropped = 0
  #droppedSinceLast = 0
  #ended = false
  #settled = false
  #closeTimer: NodeJS.Timeout | undefined
  #failure: Error | undefined
  readonly #finished: Promise<void>
  #finish!: () => void

  /** @param output is this capture's alone: it is ended with it. Its errors end the capture and go no further */
  constructor(output: Writable, options: PcapngCaptureOptions) {
    this.#output = output
    this.#options = options
    this.#snaplen = options.snaplen ?? defaultSnaplen
    this.#maxBuffered = options.maxBuffered ?? 4 << 20
    this.#finished = new Promise((resolve) => {
      this.#finish = resolve
    })
    output.on('error', (error) => this.#fail(error))
    output.on('close', () => this.#fail(undefined))
    const { interfaceName: name, description, mac } = options
    this.#write(
      sectionHeader({
        hardware: os.machine(),
        os: `${os.type()} ${os.release()}`,
        application: `netd ${netdVersion()}`,
      }),
    )
    this.#write(interfaceDescription({ name, description, snaplen: this.#snaplen, ...(mac ? { mac } : {}) }))
  }

  get captured(): number {
    return this.#captured
  }

  get dropped(): number {
    return this.#dropped
  }

  capture(direction: CaptureDirection, queue: number, header: Uint8Array, ...segments: Uint8Array[]): void {
    this.captureAt(captureTime(), direction, queue, header, ...segments)
  }

  captureAt(
    time: bigint,
    direction: CaptureDirection,
    queue: number,
    header: Uint8Array,
    ...segments: Uint8Array[]
  ): void {
    if (this.#ended) return
    const length = segments.reduce((sum, segment) => sum + segment.length, 0)
    if (this.#output.writableLength + this.#pendingBytes + Math.min(length, this.#snaplen) > this.#maxBuffered) {
      this.missed(1)
      return
    }
    const dropped = this.#droppedSinceLast
    this.#droppedSinceLast = 0
    this.#captured++
    this.#write(
      enhancedPacket({
        time,
        direction,
        queue,
        segments,
        snaplen: this.#snaplen,
        comment: headerComment(header),
        dropped,
      }),
    )
    if (this.#captured === this.#options.count) void this.close()
  }

  missed(count: number): void {
    if (this.#ended) return
    this.#dropped += count
    this.#droppedSinceLast += count
  }

  /**
   * Writes the closing statistics and ends the output. Resolves when everything is written, or cannot be: a reader that takes
   * nothing any more is waited for 2 s. Idempotent.
   */
  close(): Promise<void> {
    if (!this.#ended) {
      this.#ended = true
      const received = this.#captured + this.#dropped
      this.#write(interfaceStatistics({ start: this.#start, end: captureTime(), received, dropped: this.#dropped }))
      this.#flush()
      this.#closeTimer = setTimeout(() => this.#fail(new Error('the reader of the capture does not read')), closeLimit)
      this.#output.end(() => this.#settle())
    }
    return this.#finished
  }

  #fail(error: Error | undefined): void {
    this.#failure ??= error
    this.#ended = true
    this.#pending = []
    this.#pendingBytes = 0
    this.#output.destroy()
    this.#settle()
  }

  #settle(): void {
    if (this.#settled) return
    this.#settled = true
    clearTimeout(this.#closeTimer)
    this.#finish()
    this.#options.onEnd?.(this.#failure)
  }

  #write(block: Uint8Array): void {
    if (this.#pending.length === 0) setImmediate(() => this.#flush())
    this.#pending.push(block)
    this.#pendingBytes += block.length
  }

  #flush(): void {
    if (this.#pending.length === 0) return
    const blocks = this.#pending
    this.#pending = []
    this.#pendingBytes = 0
    if (!this.#output.writableEnded && !this.#output.destroyed) this.#output.write(Buffer.concat(blocks))
  }
}
