import { VhostUser } from '@virtio-ts/spec'

/** The three words in front of each payload. */
export interface MessageHeader {
  readonly request: number
  readonly flags: number
  /** Bytes of payload. */
  readonly size: number
}

/** One region of memory as the back-end is told of it. */
export interface MemoryRegionDescription {
  /** Where descriptors find it. */
  readonly deviceAddress: number
  /** Bytes. */
  readonly length: number
  /** Where in the file the region begins, in bytes. */
  readonly fileOffset: number
}

/** Where a queue's three areas are. */
export interface QueueAreas {
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
}

/** What a GET_INFLIGHT_FD and a SET_INFLIGHT_FD say. */
export interface InflightDescription {
  readonly length: bigint
  readonly offset: bigint
  readonly queues: number
  readonly queueSize: number
}

const U64_LENGTH = 8
const QUEUE_STATE_LENGTH = 8
const QUEUE_ADDRESSES_LENGTH = 40
const REGION_LENGTH = 32
const TABLE_HEADER_LENGTH = 8
const CONFIG_HEADER_LENGTH = 12
const INFLIGHT_FIELDS_LENGTH = 20
/** As C compilers pad the structure, which is what back-ends check for (DPDK). */
const INFLIGHT_LENGTH = 24

/** Header and payload in one piece. Byte order is little-endian here: both sides are on one machine, and Linux runs Node on no other. */
export function encodeMessage(request: number, flags: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(VhostUser.HEADER_LENGTH + payload.length)
  const view = viewOf(bytes)
  view.setUint32(0, request, true)
  view.setUint32(4, flags | VhostUser.VERSION, true)
  view.setUint32(8, payload.length, true)
  bytes.set(payload, VhostUser.HEADER_LENGTH)
  return bytes
}

/** @param bytes `VhostUser.HEADER_LENGTH` of them */
export function decodeHeader(bytes: Uint8Array): MessageHeader {
  const view = viewOf(bytes)
  return { request: view.getUint32(0, true), flags: view.getUint32(4, true), size: view.getUint32(8, true) }
}

export function encodeU64(value: bigint | number): Uint8Array {
  const bytes = new Uint8Array(U64_LENGTH)
  viewOf(bytes).setBigUint64(0, BigInt(value), true)
  return bytes
}

/** All decoders return undefined for a payload that is not of the form. */
export function decodeU64(payload: Uint8Array): bigint | undefined {
  return payload.length === U64_LENGTH ? viewOf(payload).getBigUint64(0, true) : undefined
}

/** "A vring state description": what it says of a queue depends on the request. */
export function encodeQueueState(index: number, value: number): Uint8Array {
  const bytes = new Uint8Array(QUEUE_STATE_LENGTH)
  const view = viewOf(bytes)
  view.setUint32(0, index, true)
  view.setUint32(4, value, true)
  return bytes
}

export function decodeQueueState(payload: Uint8Array): { index: number; value: number } | undefined {
  if (payload.length !== QUEUE_STATE_LENGTH) return undefined
  const view = viewOf(payload)
  return { index: view.getUint32(0, true), value: view.getUint32(4, true) }
}

/** "A vring address description", nothing logged. The areas are "user addresses", which are the same as device addresses here. */
export function encodeQueueAddresses(index: number, areas: QueueAreas): Uint8Array {
  const bytes = new Uint8Array(QUEUE_ADDRESSES_LENGTH)
  const view = viewOf(bytes)
  view.setUint32(0, index, true)
  view.setBigUint64(8, BigInt(areas.descriptorArea), true)
  // Used before available: the order of the protocol.
  view.setBigUint64(16, BigInt(areas.deviceArea), true)
  view.setBigUint64(24, BigInt(areas.driverArea), true)
  return bytes
}

/** "Multiple Memory regions description". @param regions at most `VhostUser.MAX_MEMORY_REGIONS` */
export function encodeMemoryTable(regions: readonly MemoryRegionDescription[]): Uint8Array {
  const bytes = new Uint8Array(TABLE_HEADER_LENGTH + REGION_LENGTH * regions.length)
  const view = viewOf(bytes)
  view.setUint32(0, regions.length, true)
  for (const [i, region] of regions.entries()) writeRegion(view, TABLE_HEADER_LENGTH + REGION_LENGTH * i, region)
  return bytes
}

/** "Single memory region description". */
export function encodeMemoryRegion(region: MemoryRegionDescription): Uint8Array {
  const bytes = new Uint8Array(TABLE_HEADER_LENGTH + REGION_LENGTH)
  writeRegion(viewOf(bytes), TABLE_HEADER_LENGTH, region)
  return bytes
}

function writeRegion(view: DataView, at: number, region: MemoryRegionDescription): void {
  view.setBigUint64(at, BigInt(region.deviceAddress), true)
  view.setBigUint64(at + 8, BigInt(region.length), true)
  view.setBigUint64(at + 16, BigInt(region.deviceAddress), true)
  view.setBigUint64(at + 24, BigInt(region.fileOffset), true)
}

/** "Virtio device config space", to be read into or written from `contents`. */
export function encodeConfig(offset: number, contents: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(CONFIG_HEADER_LENGTH + contents.length)
  const view = viewOf(bytes)
  view.setUint32(0, offset, true)
  view.setUint32(4, contents.length, true)
  bytes.set(contents, CONFIG_HEADER_LENGTH)
  return bytes
}

/** The contents, if they are the range asked for. An empty payload is the back-end's way of refusing: no contents at all. */
export function decodeConfig(payload: Uint8Array, offset: number, length: number): Uint8Array | undefined {
  if (payload.length === 0) return payload
  if (payload.length !== CONFIG_HEADER_LENGTH + length) return undefined
  const view = viewOf(payload)
  if (view.getUint32(0, true) !== offset || view.getUint32(4, true) !== length) return undefined
  return payload.subarray(CONFIG_HEADER_LENGTH)
}

export function encodeInflight(inflight: InflightDescription): Uint8Array {
  const bytes = new Uint8Array(INFLIGHT_LENGTH)
  const view = viewOf(bytes)
  view.setBigUint64(0, inflight.length, true)
  view.setBigUint64(8, inflight.offset, true)
  view.setUint16(16, inflight.queues, true)
  view.setUint16(18, inflight.queueSize, true)
  return bytes
}

export function decodeInflight(payload: Uint8Array): InflightDescription | undefined {
  if (payload.length !== INFLIGHT_LENGTH && payload.length !== INFLIGHT_FIELDS_LENGTH) return undefined
  const view = viewOf(payload)
  return {
    length: view.getBigUint64(0, true),
    offset: view.getBigUint64(8, true),
    queues: view.getUint16(16, true),
    queueSize: view.getUint16(18, true),
  }
}

/** `SET_STATUS`, or the number of a request that has no name here. */
export function requestName(table: Readonly<Record<string, number>>, request: number): string {
  return Object.keys(table).find((name) => table[name] === request) ?? `request ${request}`
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
