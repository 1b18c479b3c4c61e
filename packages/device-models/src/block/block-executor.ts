import { SystemError } from '@virtio-ts/native'
import { BlockConfig, BlockFeature, BlockRequest, BlockSegment, hasFeature } from '@virtio-ts/spec'
import type { BlockModelOptions } from './block-options.ts'
import type { BlockStorage } from './block-storage.ts'
import type { SeenRequest } from './seen-request.ts'
import type { ZoneAction, ZoneTable } from './zone-table.ts'

const { SECTOR } = BlockConfig
const { S_OK, S_IOERR, S_UNSUPP, S_ZONE_INVALID_CMD } = BlockRequest

const zoneActions: ReadonlyMap<number, ZoneAction> = new Map([
  [BlockRequest.T_ZONE_OPEN, 'open'],
  [BlockRequest.T_ZONE_CLOSE, 'close'],
  [BlockRequest.T_ZONE_FINISH, 'finish'],
  [BlockRequest.T_ZONE_RESET, 'reset'],
])

/** Requests after which the disk is another one. */
const changing: ReadonlySet<number> = new Set([
  BlockRequest.T_OUT,
  BlockRequest.T_WRITE_ZEROES,
  BlockRequest.T_SECURE_ERASE,
  BlockRequest.T_ZONE_APPEND,
])

/** What a request came to: its status byte, and what goes in front of it. */
export interface Outcome {
  readonly status: number
  readonly answer?: Uint8Array
}

export interface BlockExecutorParts {
  readonly options: BlockModelOptions
  readonly store: BlockStorage
  readonly zones: ZoneTable | undefined
  /** In sectors, as it is now. */
  capacity(): number
  /** Features the driver accepted. */
  features(): bigint
  /** The cache mode, as the configuration space has it. */
  writeback(): boolean
}

/** Carries requests out. @see VIRTIO 1.3 § 5.2.6.2 "Device Requirements: Device Operation" */
export class BlockExecutor {
  readonly #parts: BlockExecutorParts
  #flushes = 0
  #discarded = 0

  constructor(parts: BlockExecutorParts) {
    this.#parts = parts
  }

  get flushes(): number {
    return this.#flushes
  }

  /** Sectors that discards and secure erases named. */
  get discarded(): number {
    return this.#discarded
  }

  execute(request: SeenRequest): Outcome {
    try {
      const outcome = this.#carryOut(request)
      if (changing.has(request.type) && outcome.status === S_OK && !this.#mayKeepBack) this.#parts.store.flush()
      return outcome
    } catch (error) {
      // The storage's own failure; what of the request was done nobody knows.
      if (error instanceof SystemError) return { status: S_IOERR }
      throw error
    }
  }

  /** VIRTIO 1.3 § 5.2.6.2 "Device Requirements: Device Operation": who cannot flush, or has switched the cache off, is told of nothing that is not safe. */
  get #mayKeepBack(): boolean {
    return this.#has('FLUSH') && this.#parts.writeback()
  }

  #carryOut(request: SeenRequest): Outcome {
    const { type } = request
    if (type === BlockRequest.T_IN) return this.#read(request)
    if (type === BlockRequest.T_OUT) return { status: this.#write(request) }
    if (type === BlockRequest.T_FLUSH) return { status: this.#flush() }
    if (type === BlockRequest.T_GET_ID) return this.#id()
    if (type === BlockRequest.T_GET_LIFETIME) return this.#lifetime()
    if (type === BlockRequest.T_DISCARD) return { status: this.#ranges(request, 'DISCARD') }
    if (type === BlockRequest.T_WRITE_ZEROES) return { status: this.#ranges(request, 'WRITE_ZEROES') }
    if (type === BlockRequest.T_SECURE_ERASE) return { status: this.#ranges(request, 'SECURE_ERASE') }
    return this.#has('ZONED') ? this.#zoned(request) : { status: S_UNSUPP }
  }

  #has(feature: keyof typeof BlockFeature): boolean {
    return hasFeature(this.#parts.features(), BlockFeature[feature])
  }

  /** Whether the bytes from `sector` on are whole sectors that the device has. */
  #holds(sector: number, length: number): boolean {
    return length % SECTOR === 0 && sector + length / SECTOR <= this.#parts.capacity()
  }

  #read({ sector, room }: SeenRequest): Outcome {
    if (!this.#holds(sector, room)) return { status: S_IOERR }
    const status = this.#zones?.read(sector, room / SECTOR) ?? S_OK
    return status === S_OK ? { status, answer: this.#parts.store.read(sector, room) } : { status }
  }

  #write({ sector, data }: SeenRequest): number {
    if (this.#parts.options.readOnly || !this.#holds(sector, data.length)) return S_IOERR
    const status = this.#zones?.write(sector, data.length / SECTOR) ?? S_OK
    if (status === S_OK) this.#parts.store.write(sector, data)
    return status
  }

  #flush(): number {
    if (!this.#has('FLUSH')) return S_UNSUPP
    this.#parts.store.flush()
    this.#flushes++
    return S_OK
  }

  #id(): Outcome {
    const answer = new Uint8Array(BlockRequest.ID_LENGTH)
    answer.set(new TextEncoder().encode(this.#parts.options.id ?? 'virtio-ts').subarray(0, answer.length))
    return { status: S_OK, answer }
  }

  #lifetime(): Outcome {
    const { lifetime } = this.#parts.options
    if (!lifetime || !this.#has('LIFETIME')) return { status: S_UNSUPP }
    const words = [lifetime.preEndOfLife, lifetime.typeA, lifetime.typeB]
    return { status: S_OK, answer: Uint8Array.from(words.flatMap((word) => [word & 0xff, word >>> 8])) }
  }

  #ranges({ data }: SeenRequest, feature: 'DISCARD' | 'WRITE_ZEROES' | 'SECURE_ERASE'): number {
    if (!this.#has(feature)) return S_UNSUPP
    if (this.#parts.options.readOnly) return S_IOERR
    const segments = [...segmentsIn(data)]
    const known = feature === 'WRITE_ZEROES' ? BlockSegment.F_UNMAP : 0
    if (segments.some(({ flags }) => (flags & ~known) !== 0)) return S_UNSUPP
    for (const { sector, count, flags } of segments) {
      if (sector + count > this.#parts.capacity()) return S_IOERR
      const zoned = feature === 'SECURE_ERASE' ? this.#eraseZones(sector, count) : S_OK
      if (zoned !== S_OK) return zoned
      const release = feature !== 'WRITE_ZEROES' || (flags & BlockSegment.F_UNMAP) !== 0
      this.#parts.store.zero(sector, count * SECTOR, release)
      if (feature !== 'WRITE_ZEROES') this.#discarded += count
    }
    return S_OK
  }

  /** A secure erase of a zoned device resets whole zones. */
  #eraseZones(sector: number, count: number): number {
    const table = this.#zones
    if (!table) return S_OK
    const { zoneSectors } = this.#parts.options.zoned ?? { zoneSectors: 1 }
    if (sector % zoneSectors !== 0 || count % zoneSectors !== 0) return S_ZONE_INVALID_CMD
    for (let at = sector; at < sector + count; at += zoneSectors) {
      const status = table.act('reset', at)
      if (status !== S_OK) return status
    }
    return S_OK
  }

  #zoned(request: SeenRequest): Outcome {
    const table = this.#zones
    if (!table) return { status: S_UNSUPP }
    const { type, sector, room } = request
    if (type === BlockRequest.T_ZONE_REPORT) {
      if (sector >= this.#parts.capacity()) return { status: S_ZONE_INVALID_CMD }
      return { status: S_OK, answer: table.report(sector, room) }
    }
    if (this.#parts.options.readOnly) return { status: S_IOERR }
    if (type === BlockRequest.T_ZONE_APPEND) return this.#append(table, request)
    if (type === BlockRequest.T_ZONE_RESET_ALL) {
      for (const zone of table.resetAll()) this.#parts.store.zero(zone.start, zone.length * SECTOR, true)
      return { status: S_OK }
    }
    const action = zoneActions.get(type)
    if (!action) return { status: S_UNSUPP }
    const status = table.act(action, sector)
    const zone = table.zoneAt(sector)
    if (status === S_OK && action === 'reset' && zone) this.#parts.store.zero(zone.start, zone.length * SECTOR, true)
    return { status }
  }

  #append(table: ZoneTable, { sector, data }: SeenRequest): Outcome {
    const most = this.#parts.options.zoned?.maxAppendSectors ?? 128
    if (most === 0) return { status: S_UNSUPP }
    if (!this.#holds(sector, data.length) || data.length > most * SECTOR) return { status: S_ZONE_INVALID_CMD }
    const { status, at } = table.append(sector, data.length / SECTOR)
    if (status !== S_OK) return { status }
    this.#parts.store.write(at, data)
    const answer = new Uint8Array(BlockRequest.APPEND_SECTOR_LENGTH)
    new DataView(answer.buffer).setBigUint64(0, BigInt(at), true)
    return { status, answer }
  }

  /** The zones, where the device has some that restrict anything. */
  get #zones(): ZoneTable | undefined {
    return this.#has('ZONED') && this.#parts.options.zoned?.model !== 'none' ? this.#parts.zones : undefined
  }
}

export interface SeenSegment {
  readonly sector: number
  readonly count: number
  readonly flags: number
}

/** The structures of a request that names ranges. */
export function* segmentsIn(data: Uint8Array): Generator<SeenSegment> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  for (let at = 0; at + BlockSegment.LENGTH <= data.length; at += BlockSegment.LENGTH) {
    yield {
      sector: Number(view.getBigUint64(at + BlockSegment.SECTOR, true)),
      count: view.getUint32(at + BlockSegment.NUM_SECTORS, true),
      flags: view.getUint32(at + BlockSegment.FLAGS, true),
    }
  }
}
