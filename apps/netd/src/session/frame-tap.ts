import type { ReceivedPacket } from '@virtio-ts/driver-net'
import type { CaptureDirection, CaptureSink, PacketTap } from '../capture/packet-tap.ts'
import { replayFrames } from '../worker/frame-batch.ts'

/** Takes packets seen here, and those that other threads have seen. */
export type FrameListener = PacketTap & CaptureSink

/** Hands frames to whoever captures; `active` is false, and nothing is done, while nobody does. */
export class FrameTap {
  readonly #listeners = new Set<FrameListener>()
  readonly #onActive: (active: boolean) => void
  active = false

  /** @param onActive called when the first one attaches, and when the last one has gone */
  constructor(onActive: (active: boolean) => void = () => {}) {
    this.#onActive = onActive
  }

  attach(listener: FrameListener): () => void {
    this.#listeners.add(listener)
    this.#update()
    return () => {
      this.#listeners.delete(listener)
      this.#update()
    }
  }

  /** @param bytes the driver's, in which the packet's segments are */
  received(packet: ReceivedPacket, bytes: Uint8Array, queue: number, direction: CaptureDirection = 'rx'): void {
    const segments: Uint8Array[] = []
    for (let i = 0; i < packet.segmentCount; i++) {
      const offset = packet.segmentOffsets[i] as number
      segments.push(bytes.subarray(offset, offset + (packet.segmentLengths[i] as number)))
    }
    for (const listener of this.#listeners) listener.capture(direction, queue, packet.header, ...segments)
  }

  /** @param header offset in `bytes` of the 12 bytes that came with the frame */
  transmitted(bytes: Uint8Array, header: number, frame: number, length: number, queue: number): void {
    for (const listener of this.#listeners)
      listener.capture('tx', queue, bytes.subarray(header, header + 12), bytes.subarray(frame, frame + length))
  }

  /** Frames another thread has seen, as `FrameSender` sends them. */
  replay(batch: Uint8Array, dropped: number): void {
    if (dropped > 0) for (const listener of this.#listeners) listener.missed(dropped)
    replayFrames(batch, this.#listeners)
  }

  #update(): void {
    const active = this.#listeners.size > 0
    if (active === this.active) return
    this.active = active
    this.#onActive(active)
  }
}
