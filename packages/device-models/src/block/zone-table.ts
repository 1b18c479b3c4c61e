import { BlockRequest, BlockZone } from '@virtio-ts/spec'
import type { ZonedOptions } from './block-options.ts'

const { S_OK, S_ZONE_INVALID_CMD, S_ZONE_UNALIGNED_WP, S_ZONE_OPEN_RESOURCE, S_ZONE_ACTIVE_RESOURCE } = BlockRequest
const { ZT_CONV, ZT_SWR, ZT_SWP } = BlockZone
const { ZS_NOT_WP, ZS_EMPTY, ZS_IOPEN, ZS_EOPEN, ZS_CLOSED, ZS_RDONLY, ZS_FULL, ZS_OFFLINE } = BlockZone
const SECTOR = 512

export interface ModelZone {
  readonly start: number
  readonly length: number
  readonly capacity: number
  readonly type: number
  state: number
  writePointer: number
}

export type ZoneAction = 'open' | 'close' | 'finish' | 'reset'

/** The zones of a zoned device, and the states they go through. @see VIRTIO 1.3 § 5.2.6 "Device Operation" */
export class ZoneTable {
  readonly zones: readonly ModelZone[]
  readonly #options: ZonedOptions

  /** @param capacity of the device, in sectors */
  constructor(options: ZonedOptions, capacity: number) {
    this.#options = options
    const { zoneSectors, conventional = 0, zoneCapacity = zoneSectors } = options
    const sequential = options.model === 'host-aware' ? ZT_SWP : ZT_SWR
    // Zones of no length are a device's mistake that tests want.
    const count = zoneSectors > 0 ? Math.ceil(capacity / zoneSectors) : 0
    this.zones = Array.from({ length: count }, (_, index) => {
      const start = index * zoneSectors
      const length = Math.min(zoneSectors, capacity - start)
      const isConventional = index < conventional
      return {
        start,
        length,
        capacity: isConventional ? length : Math.min(length, zoneCapacity),
        type: isConventional ? ZT_CONV : sequential,
        state: isConventional ? ZS_NOT_WP : ZS_EMPTY,
        writePointer: start,
      }
    })
  }

  zoneAt(sector: number): ModelZone | undefined {
    return this.zones[Math.floor(sector / this.#options.zoneSectors)]
  }

  /** Whether a read of this range may be answered, and with what. */
  read(sector: number, count: number): number {
    const zones = this.#over(sector, count)
    if (zones.some(({ state }) => state === ZS_OFFLINE)) return S_ZONE_INVALID_CMD
    return zones.length > 1 && zones.some(({ type }) => type === ZT_SWR) ? S_ZONE_INVALID_CMD : S_OK
  }

  /** A write at the place it names: moves the write pointer when it may. */
  write(sector: number, count: number): number {
    const zones = this.#over(sector, count)
    for (const zone of zones) {
      if (zone.type === ZT_CONV) continue
      if (zone.type === ZT_SWR && zones.length > 1) return S_ZONE_INVALID_CMD
      const status = this.#advance(zone, sector, count, zone.type === ZT_SWP)
      if (status !== S_OK) return status
    }
    return S_OK
  }

  /** @returns the status, and where the data goes */
  append(sector: number, count: number): { readonly status: number; readonly at: number } {
    const zone = this.zoneAt(sector)
    if (zone?.type !== ZT_SWR || sector !== zone.start) return { status: S_ZONE_INVALID_CMD, at: 0 }
    const at = zone.writePointer
    return { status: this.#advance(zone, at, count, false), at }
  }

  act(action: ZoneAction, sector: number): number {
    const zone = this.zoneAt(sector)
    if (!zone || sector !== zone.start || zone.type === ZT_CONV) return S_ZONE_INVALID_CMD
    if (zone.state === ZS_OFFLINE || zone.state === ZS_RDONLY) return S_ZONE_INVALID_CMD
    if (action === 'open') return zone.state === ZS_FULL ? S_ZONE_INVALID_CMD : this.#open(zone, ZS_EOPEN)
    if (action === 'close') return this.#close(zone)
    if (action === 'reset') {
      zone.state = ZS_EMPTY
      zone.writePointer = zone.start
    } else zone.state = ZS_FULL
    return S_OK
  }

  /** @returns the zones that were emptied */
  resetAll(): readonly ModelZone[] {
    const active = new Set<number>([ZS_IOPEN, ZS_EOPEN, ZS_CLOSED, ZS_FULL])
    const emptied = this.zones.filter(({ state }) => active.has(state))
    for (const zone of emptied) this.act('reset', zone.start)
    return emptied
  }

  /** Zone descriptors from the zone that holds `sector` on, as many as fit. */
  report(sector: number, room: number): Uint8Array {
    const from = Math.floor(sector / this.#options.zoneSectors)
    const fit = Math.max(0, Math.floor((room - BlockZone.REPORT_HEADER_LENGTH) / BlockZone.DESCRIPTOR_LENGTH))
    const zones = this.zones.slice(from, from + fit)
    const bytes = new Uint8Array(BlockZone.REPORT_HEADER_LENGTH + zones.length * BlockZone.DESCRIPTOR_LENGTH)
    const view = new DataView(bytes.buffer)
    view.setBigUint64(0, BigInt(zones.length), true)
    zones.forEach((zone, index) => {
      const at = BlockZone.REPORT_HEADER_LENGTH + index * BlockZone.DESCRIPTOR_LENGTH
      view.setBigUint64(at + BlockZone.CAPACITY, BigInt(zone.capacity), true)
      view.setBigUint64(at + BlockZone.START, BigInt(zone.start), true)
      view.setBigUint64(at + BlockZone.WRITE_POINTER, BigInt(zone.writePointer), true)
      view.setUint8(at + BlockZone.TYPE, zone.type)
      view.setUint8(at + BlockZone.STATE, zone.state)
    })
    return bytes
  }

  #over(sector: number, count: number): ModelZone[] {
    return this.zones.filter(({ start, length }) => start < sector + count && sector < start + length)
  }

  #advance(zone: ModelZone, sector: number, count: number, anywhere: boolean): number {
    if (zone.state === ZS_RDONLY || zone.state === ZS_OFFLINE) return S_ZONE_INVALID_CMD
    if (zone.state === ZS_FULL) return anywhere ? S_OK : S_ZONE_INVALID_CMD
    const end = sector + count
    if (!anywhere) {
      if (sector !== zone.writePointer || (end * SECTOR) % (this.#options.writeGranularity ?? SECTOR) !== 0)
        return S_ZONE_UNALIGNED_WP
      if (end > zone.start + zone.capacity) return S_ZONE_INVALID_CMD
    }
    if (zone.state !== ZS_EOPEN) {
      const status = this.#open(zone, ZS_IOPEN)
      if (status !== S_OK) return status
    }
    zone.writePointer = Math.min(Math.max(zone.writePointer, end), zone.start + zone.capacity)
    if (zone.writePointer === zone.start + zone.capacity) zone.state = ZS_FULL
    return S_OK
  }

  #open(zone: ModelZone, state: number): number {
    const { maxOpen = 0, maxActive = 0 } = this.#options
    if (zone.state === ZS_EMPTY && maxActive > 0 && this.#count(ZS_IOPEN, ZS_EOPEN, ZS_CLOSED) >= maxActive)
      return S_ZONE_ACTIVE_RESOURCE
    const isOpen = zone.state === ZS_IOPEN || zone.state === ZS_EOPEN
    if (!isOpen && maxOpen > 0 && this.#count(ZS_IOPEN, ZS_EOPEN) >= maxOpen) {
      // One that was opened in passing may be closed in passing.
      const other = this.zones.find((candidate) => candidate.state === ZS_IOPEN)
      if (!other) return S_ZONE_OPEN_RESOURCE
      other.state = ZS_CLOSED
    }
    zone.state = state
    return S_OK
  }

  #close(zone: ModelZone): number {
    if (zone.state === ZS_CLOSED) return S_OK
    if (zone.state === ZS_IOPEN) zone.state = ZS_CLOSED
    else if (zone.state === ZS_EOPEN) zone.state = zone.writePointer === zone.start ? ZS_EMPTY : ZS_CLOSED
    else return S_ZONE_INVALID_CMD
    return S_OK
  }

  #count(...states: readonly number[]): number {
    return this.zones.filter(({ state }) => states.includes(state)).length
  }
}
