import { BlockConfig, BlockFeature, BlockRequest, BlockSegment, hasFeature, ReservedFeature } from '@virtio-ts/spec'
import type { DescriptorChain } from '../descriptor-chain.ts'
import type { DeviceHost } from '../device-model.ts'
import { Rules } from '../rules.ts'
import { segmentsIn } from './block-executor.ts'
import type { SeenRequest } from './seen-request.ts'

const { SECTOR } = BlockConfig
const R = BlockRequest

const features: ReadonlyMap<number, keyof typeof BlockFeature> = new Map<number, keyof typeof BlockFeature>([
  [R.T_FLUSH, 'FLUSH'],
  [R.T_GET_LIFETIME, 'LIFETIME'],
  [R.T_DISCARD, 'DISCARD'],
  [R.T_WRITE_ZEROES, 'WRITE_ZEROES'],
  [R.T_SECURE_ERASE, 'SECURE_ERASE'],
  ...[
    R.T_ZONE_APPEND,
    R.T_ZONE_REPORT,
    R.T_ZONE_OPEN,
    R.T_ZONE_CLOSE,
    R.T_ZONE_FINISH,
    R.T_ZONE_RESET,
    R.T_ZONE_RESET_ALL,
  ].map((type) => [type, 'ZONED'] as const),
])

/** Where the limits of requests that name ranges stand. */
const limits: ReadonlyMap<number, { readonly sectors: number; readonly segments: number }> = new Map([
  [R.T_DISCARD, { sectors: BlockConfig.MAX_DISCARD_SECTORS, segments: BlockConfig.MAX_DISCARD_SEG }],
  [R.T_WRITE_ZEROES, { sectors: BlockConfig.MAX_WRITE_ZEROES_SECTORS, segments: BlockConfig.MAX_WRITE_ZEROES_SEG }],
  [R.T_SECURE_ERASE, { sectors: BlockConfig.MAX_SECURE_ERASE_SECTORS, segments: BlockConfig.MAX_SECURE_ERASE_SEG }],
])

/** Types whose sector is unused, and 0. */
const withoutSector: ReadonlySet<number> = new Set([
  R.T_FLUSH,
  R.T_GET_ID,
  R.T_GET_LIFETIME,
  R.T_DISCARD,
  R.T_WRITE_ZEROES,
  R.T_SECURE_ERASE,
  R.T_ZONE_RESET_ALL,
])

/** Holds a request against the rules for drivers. @see VIRTIO 1.3 § 5.2.6.1 "Driver Requirements: Device Operation" */
export class RequestJudge {
  readonly #host: DeviceHost
  readonly #config: DataView

  constructor(host: DeviceHost, config: Uint8Array) {
    this.#host = host
    this.#config = new DataView(config.buffer, config.byteOffset, config.byteLength)
  }

  judge(chain: DescriptorChain, request: SeenRequest | undefined): void {
    if (!request) {
      this.#operation('a request without a header of 16 bytes and a status byte')
      return
    }
    this.#judgeFraming(chain)
    const { type, sector } = request
    const feature = features.get(type)
    if (feature && !this.#has(feature)) this.#operation(`a request of type ${type} without ${feature}`)
    if (withoutSector.has(type) && sector !== 0) this.#operation(`a request of type ${type} names sector ${sector}`)
    if (type === R.T_IN) this.#judgeTransfer('read', sector, request.room)
    if (type === R.T_OUT) this.#judgeTransfer('write', sector, request.data.length)
    if (type === R.T_FLUSH && request.data.length + request.room > 0) this.#operation('a flush with data')
    if (type === R.T_GET_ID && request.room !== R.ID_LENGTH)
      this.#operation(`a device ID asked for with ${request.room} bytes`)
    if (limits.has(type)) this.#judgeRanges(request)
    if (feature === 'ZONED') this.#judgeZone(request)
  }

  /** Segments: what the chain holds besides header and status. */
  #judgeFraming(chain: DescriptorChain): void {
    const separate = chain.readable[0]?.length === R.HEADER_LENGTH && chain.writable.at(-1)?.length === 1
    const { features: accepted } = this.#host
    const legacyFraming =
      !hasFeature(accepted, ReservedFeature.VERSION_1) && !hasFeature(accepted, ReservedFeature.ANY_LAYOUT)
    if (!separate && legacyFraming)
      this.#host.violation(Rules.BLOCK_LEGACY_FRAMING, 'header or status share a descriptor with data')
    if (!separate) return
    const segments = [...chain.readable.slice(1), ...chain.writable.slice(0, -1)]
    const sizeMax = this.#config.getUint32(BlockConfig.SIZE_MAX, true)
    const segMax = this.#config.getUint32(BlockConfig.SEG_MAX, true)
    const longest = Math.max(0, ...segments.map(({ length }) => length))
    if (this.#has('SIZE_MAX') && longest > sizeMax)
      this.#host.violation(Rules.BLOCK_FEATURES, `a segment of ${longest} bytes, size_max is ${sizeMax}`)
    if (this.#has('SEG_MAX') && segments.length > segMax)
      this.#host.violation(Rules.BLOCK_FEATURES, `${segments.length} segments, seg_max is ${segMax}`)
  }

  #judgeTransfer(verb: string, sector: number, length: number): void {
    if (length % SECTOR !== 0) this.#operation(`a ${verb} of ${length} bytes`)
    const end = sector + Math.ceil(length / SECTOR)
    if (end > this.#capacity) this.#operation(`a ${verb} up to sector ${end}, capacity is ${this.#capacity}`)
  }

  #judgeRanges({ type, data }: SeenRequest): void {
    if (data.length === 0 || data.length % BlockSegment.LENGTH !== 0)
      this.#operation(`${data.length} bytes of ranges, which have ${BlockSegment.LENGTH} each`)
    const at = limits.get(type)
    if (!at) return
    // A device that states 0 states no limit.
    const most = this.#config.getUint32(at.sectors, true) || Number.POSITIVE_INFINITY
    const segments = [...segmentsIn(data)]
    const mostSegments = this.#config.getUint32(at.segments, true) || 1
    if (segments.length > mostSegments)
      this.#operation(`${segments.length} ranges in a request of type ${type}, ${mostSegments} are allowed`)
    for (const { sector, count, flags } of segments) {
      if (count > most) this.#operation(`a range of ${count} sectors in a request of type ${type}, ${most} are allowed`)
      if (sector + count > this.#capacity) this.#operation(`a range up to sector ${sector + count}`)
      if (type !== R.T_WRITE_ZEROES && (flags & BlockSegment.F_UNMAP) !== 0)
        this.#operation(`the unmap bit in a request of type ${type}`)
    }
  }

  #judgeZone({ type, sector, data, room }: SeenRequest): void {
    const zoneSectors = this.#config.getUint32(BlockConfig.ZONE_SECTORS, true) || 1
    const inside = type === R.T_ZONE_REPORT || type === R.T_ZONE_RESET_ALL
    if (!inside && sector % zoneSectors !== 0) this.#operation(`sector ${sector} does not begin a zone`)
    if (sector >= this.#capacity) this.#operation(`a zone at sector ${sector}, capacity is ${this.#capacity}`)
    if (type !== R.T_ZONE_APPEND) return
    const granularity = this.#config.getUint32(BlockConfig.WRITE_GRANULARITY, true) || SECTOR
    const most = this.#config.getUint32(BlockConfig.MAX_APPEND_SECTORS, true)
    if (data.length % granularity !== 0)
      this.#operation(`${data.length} bytes appended, the granularity is ${granularity}`)
    if (data.length > most * SECTOR) this.#operation(`${data.length} bytes appended, ${most} sectors are allowed`)
    if (room !== R.APPEND_SECTOR_LENGTH) this.#operation(`${room} bytes for append_sector`)
  }

  get #capacity(): number {
    return Number(this.#config.getBigUint64(BlockConfig.CAPACITY, true))
  }

  #has(feature: keyof typeof BlockFeature): boolean {
    return hasFeature(this.#host.features, BlockFeature[feature])
  }

  #operation(text: string): void {
    this.#host.violation(Rules.BLOCK_OPERATION, text)
  }
}
