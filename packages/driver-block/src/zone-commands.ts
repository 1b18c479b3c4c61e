import { BlockConfig, BlockRequest, BlockZone, VirtioError } from '@virtio-ts/spec'
import { type BlockCommands, exchange } from './block-commands.ts'
import type { ZonedLimits } from './block-limits.ts'
import type { ByteList } from './byte-list.ts'
import type { Slice } from './control-slot.ts'
import type { RequestChannel } from './request-channel.ts'
import type { Transfer } from './transfer.ts'
import { readZone, type Zone } from './zone.ts'

const { SECTOR } = BlockConfig
const { REPORT_HEADER_LENGTH, DESCRIPTOR_LENGTH } = BlockZone
const { APPEND_SECTOR_LENGTH } = BlockRequest
const HIGH_WORD = 2 ** 32

export interface ZoneCommandsOptions {
  readonly channel: RequestChannel
  readonly transfer: Transfer
  readonly commands: BlockCommands
  readonly zoned: ZonedLimits
  readonly device: string
  readonly capacity: () => number
}

/** Requests of zoned devices. @see VIRTIO 1.3 § 5.2.6.1 "Driver Requirements: Device Operation" */
export class ZoneCommands {
  readonly #options: ZoneCommandsOptions

  constructor(options: ZoneCommandsOptions) {
    this.#options = options
  }

  /** Bytes that can be appended at a time. */
  get maxAppend(): number {
    const { zoned, transfer } = this.#options
    return Math.min(zoned.maxAppend, transfer.mostCopied - (transfer.mostCopied % zoned.writeGranularity))
  }

  /** Zones from the one that holds `offset` on, `count` of them at most. */
  async report(offset: number, count: number, signal: AbortSignal | undefined): Promise<Zone[]> {
    const { zoneSize } = this.#options.zoned
    const zones: Zone[] = []
    // The last zone may be smaller than the others.
    let at = offset < this.#options.capacity() ? offset - (offset % zoneSize) : Number.POSITIVE_INFINITY
    while (zones.length < count && at < this.#options.capacity()) {
      const more = await this.#reportOnce(at, count - zones.length, signal)
      zones.push(...more)
      at += more.length * zoneSize
    }
    return zones
  }

  /** @returns where on the disk the data went, in bytes */
  async append(offset: number, source: ByteList, signal: AbortSignal | undefined): Promise<number> {
    const { channel, transfer, zoned } = this.#options
    this.checkZone(offset)
    if (source.length === 0 || source.length % zoned.writeGranularity !== 0)
      throw new RangeError(`${source.length} bytes to append: they must be a multiple of ${zoned.writeGranularity}`)
    if (source.length > this.maxAppend)
      throw new RangeError(`${source.length} bytes to append: ${this.maxAppend} are possible at a time`)
    const { lease, segments } = await transfer.stage(source, signal)
    const { slot } = lease
    const request = {
      type: BlockRequest.T_ZONE_APPEND,
      sector: offset / SECTOR,
      readable: segments,
      writable: [slot.answer(APPEND_SECTOR_LENGTH)],
      answer: APPEND_SECTOR_LENGTH,
    }
    const at = await exchange(channel, lease, request, signal, () => {
      const view = new DataView(slot.takeAnswer(APPEND_SECTOR_LENGTH).buffer)
      return (view.getUint32(0, true) + view.getUint32(4, true) * HIGH_WORD) * SECTOR
    })
    if (at >= offset && at + source.length <= offset + zoned.zoneSize) return at
    throw this.#badAnswer(`says that data for the zone at ${offset} went to ${at}`, { offset, at })
  }

  /** @param offset where the zone begins */
  act(type: number, offset: number, signal: AbortSignal | undefined): Promise<void> {
    this.checkZone(offset)
    return this.#options.commands.act(type, offset / SECTOR, signal)
  }

  resetAll(signal: AbortSignal | undefined): Promise<void> {
    return this.#options.commands.act(BlockRequest.T_ZONE_RESET_ALL, 0, signal)
  }

  /** @throws RangeError when no zone begins there */
  checkZone(offset: number): void {
    const { zoneSize } = this.#options.zoned
    if (Number.isInteger(offset) && offset >= 0 && offset % zoneSize === 0 && offset < this.#options.capacity()) return
    throw new RangeError(
      `no zone begins at ${offset}: zones of ${zoneSize} bytes, ${this.#options.capacity()} bytes of disk`,
    )
  }

  async #reportOnce(at: number, count: number, signal: AbortSignal | undefined): Promise<Zone[]> {
    const { channel, transfer } = this.#options
    const wanted = REPORT_HEADER_LENGTH + count * DESCRIPTOR_LENGTH
    const length = Math.min(Math.ceil(wanted / SECTOR) * SECTOR, transfer.mostCopied)
    const { lease, segments } = await transfer.room(length, signal)
    const request = { type: BlockRequest.T_ZONE_REPORT, sector: at / SECTOR, writable: segments }
    // The length is not looked at: a device may count what it had to say, or all the room it was given.
    const report = await exchange(channel, lease, request, signal, () => copyOf(segments, length))
    return this.#parse(report, at).slice(0, count)
  }

  #parse(report: Uint8Array, first: number): Zone[] {
    const view = new DataView(report.buffer)
    const { zoneSize } = this.#options.zoned
    const told = view.getUint32(0, true) + view.getUint32(4, true) * HIGH_WORD
    const fit = Math.floor((report.length - REPORT_HEADER_LENGTH) / DESCRIPTOR_LENGTH)
    if (told === 0 || told > fit) throw this.#badAnswer(`reports ${told} zones where 1 to ${fit} fit`, { zones: told })
    return Array.from({ length: told }, (_, index) => {
      const expected = first + index * zoneSize
      const zone = readZone(view, REPORT_HEADER_LENGTH + index * DESCRIPTOR_LENGTH, expected, zoneSize)
      if (!zone)
        throw this.#badAnswer(`reports a zone that cannot be, in place of the one at ${expected}`, { expected })
      return zone
    })
  }

  #badAnswer(text: string, detail: Readonly<Record<string, number>>): VirtioError {
    const { device } = this.#options
    return new VirtioError('block.bad-answer', `${device} ${text}`, { device, detail })
  }
}

function copyOf(segments: readonly Slice[], length: number): Uint8Array {
  const copy = new Uint8Array(length)
  let at = 0
  for (const { region, offset, length: count } of segments) {
    copy.set(region.bytes.subarray(offset, offset + count), at)
    at += count
  }
  return copy
}
