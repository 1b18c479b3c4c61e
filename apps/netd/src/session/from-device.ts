import type { ReceivedPacket } from '@virtio-ts/driver-net'
import { addressOf, Errno, IoVector } from '@virtio-ts/native'
import type { TapQueue } from '@virtio-ts/tap'
import type { FrameTap } from './frame-tap.ts'
import type { PacketPair } from './packet-pair.ts'
import type { SessionCounters } from './session-counters.ts'

/** Frames of one turn: enough to amortise the notification, few enough that the event loop stays answerable. */
export const turnBudget = 64
const headerLength = 12
/** UIO_MAXIOV of Linux. */
const maxPieces = 1024

/**
 * Moves frames from the receive queue to the TAP. The header, and the bytes it was checked against, come from memory the device cannot
 * reach; the rest of the frame goes to the kernel straight from the ring's memory.
 */
export class FromDevice {
  readonly #pair: PacketPair
  readonly #tap: TapQueue
  readonly #counters: SessionCounters
  readonly #frames: FrameTap
  readonly #base: number
  readonly #headAddress: number
  readonly #queue: number
  readonly #sink = (packet: ReceivedPacket): void => this.#write(packet)
  #vector: IoVector | undefined

  /**
   * @param head what the driver was opened with: checked bytes, at an address that stays
   * @param queue the pair's index, for captures
   */
  constructor(
    pair: PacketPair,
    tap: TapQueue,
    counters: SessionCounters,
    frames: FrameTap,
    head: Uint8Array,
    queue: number,
  ) {
    this.#pair = pair
    this.#tap = tap
    this.#counters = counters
    this.#frames = frames
    this.#base = addressOf(pair.bytes)
    this.#headAddress = addressOf(head)
    this.#queue = queue
  }

  /** @returns how many frames came: `turnBudget` when there may be more at once */
  turn(): number {
    return this.#pair.receive(this.#sink, turnBudget)
  }

  #write(packet: ReceivedPacket): void {
    if (this.#frames.active) this.#frames.received(packet, this.#pair.bytes, this.#queue)
    // A device may spread a packet over every buffer of a large ring, a byte each; the kernel takes so many pieces and no more.
    if (packet.segmentCount >= maxPieces) return this.#counters.tapRefused()
    this.#vector ??= new IoVector(Math.min(packet.segmentOffsets.length + 1, maxPieces))
    const vector = this.#vector
    vector.clear()
    vector.append(this.#headAddress, headerLength + packet.headLength)
    let checked = packet.headLength
    for (let i = 0; i < packet.segmentCount; i++) {
      const length = packet.segmentLengths[i] as number
      const skipped = Math.min(checked, length)
      checked -= skipped
      if (length > skipped) vector.append(this.#base + (packet.segmentOffsets[i] as number) + skipped, length - skipped)
    }
    this.#count(this.#tap.write(vector), packet.length)
  }

  /** What each answer of the kernel costs: a full queue or a down interface this one frame. */
  #count(written: number, length: number): void {
    const counters = this.#counters
    if (written >= 0) {
      counters.toTap(length)
    } else if (written === -Errno.EAGAIN || written === -Errno.ENOBUFS) counters.tapFull()
    else if (written === -Errno.EIO) counters.tapDown()
    else counters.tapRefused()
  }
}
