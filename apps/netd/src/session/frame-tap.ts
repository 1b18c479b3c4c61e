import type { ReceivedPacket } from '@virtio-ts/driver-net'
import type { CaptureDirection, PacketTap } from '../capture/packet-tap.ts'

/** Hands frames to whoever captures; `active` is false, and nothing is done, while nobody does. */
export class FrameTap {
  readonly #listeners = new Set<PacketTap>()
  active = false

  attach(listener: PacketTap): () => void {
    this.#listeners.add(listener)
    this.active = true
    return () => {
      this.#listeners.delete(listener)
      this.active = this.#listeners.size > 0
    }
  }

  /** @param bytes the driver's, in which the packet's segments are */
  received(packet: ReceivedPacket, bytes: Uint8Array, direction: CaptureDirection = 'rx', queue = 0): void {
    const segments: Uint8Array[] = []
    for (let i = 0; i < packet.segmentCount; i++) {
      const offset = packet.segmentOffsets[i] as number
      segments.push(bytes.subarray(offset, offset + (packet.segmentLengths[i] as number)))
    }
    for (const listener of this.#listeners) listener.capture(direction, queue, packet.header, ...segments)
  }

  /** @param header offset in `bytes` of the 12 bytes that came with the frame */
  transmitted(bytes: Uint8Array, header: number, frame: number, length: number): void {
    for (const listener of this.#listeners)
      listener.capture('tx', 0, bytes.subarray(header, header + 12), bytes.subarray(frame, frame + length))
  }
}
