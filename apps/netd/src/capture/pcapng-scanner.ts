import { CommandError } from '@virtio-ts/command-line'
import { PcapngBlock } from './pcapng.ts'

/** Longest block a capture of ours has: a packet, its options, and room to spare. */
const maxBlock = 1 << 20
const droppedOption = 5

/** Counts what is in a capture as it streams by, so that its reader can say how much there was and whether it is whole. */
export class PcapngScanner {
  packets = 0
  /** As the closing statistics have it; undefined before they came. */
  dropped: number | undefined
  #rest: Buffer = Buffer.alloc(0)

  /** The capture ended with its statistics and not in the middle of a block. */
  get complete(): boolean {
    return this.dropped !== undefined && this.#rest.length === 0
  }

  /** @throws CommandError `capture.malformed` */
  push(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    while (bytes.length >= 12) {
      const length = bytes.readUInt32LE(4)
      if (length < 12 || length > maxBlock || length % 4 !== 0) {
        throw new CommandError('capture.malformed', 'what arrived is not a capture', {
          why: `a block claims ${length} bytes`,
          fix: 'are both netds of the same version?',
        })
      }
      if (bytes.length < length) break
      this.#block(bytes.readUInt32LE(0), bytes.subarray(8, length - 4))
      bytes = bytes.subarray(length)
    }
    this.#rest = bytes
  }

  #block(type: number, body: Buffer): void {
    if (type === PcapngBlock.ENHANCED_PACKET) this.packets++
    if (type !== PcapngBlock.INTERFACE_STATISTICS) return
    this.dropped = 0
    for (let offset = 12; offset + 4 <= body.length; ) {
      const length = body.readUInt16LE(offset + 2)
      if (body.readUInt16LE(offset) === droppedOption && length === 8 && offset + 12 <= body.length) {
        this.dropped = Number(body.readBigUInt64LE(offset + 4))
      }
      offset += 4 + ((length + 3) & ~3)
    }
  }
}
