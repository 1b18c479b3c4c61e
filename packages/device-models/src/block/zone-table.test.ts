import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { BlockModel } from './block-model.ts'
import type { ZonedOptions } from './block-options.ts'
import { ZoneTable } from './zone-table.ts'

const options: ZonedOptions = {
  model: 'host-managed',
  zoneSectors: 16,
  zoneCapacity: 12,
  conventional: 1,
  maxOpen: 2,
  maxActive: 3,
  writeGranularity: 1024,
}
const table = (more: Partial<ZonedOptions> = {}): ZoneTable => new ZoneTable({ ...options, ...more }, 84)
const [OK, INVALID, UNALIGNED, OPEN, ACTIVE] = [0, 3, 4, 5, 6]
const [NOT_WP, EMPTY, IOPEN, EOPEN, CLOSED, FULL] = [0, 1, 2, 3, 4, 14]

describe('zones', () => {
  it('lie side by side, the last one as long as there is room', () => {
    const { zones } = table()
    expect(zones.map(({ start }) => start)).toEqual([0, 16, 32, 48, 64, 80])
    expect(zones.map(({ capacity }) => capacity)).toEqual([16, 12, 12, 12, 12, 4])
    expect(zones.map(({ state }) => state)).toEqual([NOT_WP, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY])
  })

  it('take writes at their write pointer, in whole write units, up to their capacity', () => {
    const zones = table()
    expect(zones.write(18, 2)).toBe(UNALIGNED)
    expect(zones.write(16, 1)).toBe(UNALIGNED)
    expect(zones.write(16, 14)).toBe(INVALID)
    expect(zones.write(16, 2)).toBe(OK)
    expect(zones.zoneAt(17)).toMatchObject({ state: IOPEN, writePointer: 18 })
    expect(zones.write(18, 10)).toBe(OK)
    expect(zones.zoneAt(17)?.state).toBe(FULL)
    expect(zones.write(28, 2)).toBe(INVALID)
    expect(zones.write(14, 4)).toBe(INVALID)
    expect(zones.write(3, 7)).toBe(OK)
  })

  it('say where an append went', () => {
    const zones = table()
    expect(zones.append(16, 2)).toEqual({ status: OK, at: 16 })
    expect(zones.append(16, 4)).toEqual({ status: OK, at: 18 })
    expect(zones.append(17, 2).status).toBe(INVALID)
    expect(zones.append(0, 2).status).toBe(INVALID)
  })

  it('are open and active in limited number; one opened in passing is closed in passing', () => {
    const zones = table()
    zones.write(16, 2)
    zones.write(32, 2)
    expect(zones.write(48, 2)).toBe(OK)
    expect(zones.zones.map(({ state }) => state)).toEqual([NOT_WP, CLOSED, IOPEN, IOPEN, EMPTY, EMPTY])
    expect(zones.act('open', 64)).toBe(ACTIVE)
    zones.act('finish', 16)
    zones.act('open', 32)
    zones.act('open', 48)
    expect(zones.act('open', 64)).toBe(OPEN)
  })

  it('go through their states', () => {
    const zones = table()
    const state = (): number | undefined => zones.zoneAt(16)?.state
    expect(zones.act('close', 16)).toBe(INVALID)
    zones.act('open', 16)
    expect(state()).toBe(EOPEN)
    zones.act('close', 16)
    expect(state()).toBe(EMPTY)
    zones.append(16, 2)
    zones.act('close', 16)
    expect(state()).toBe(CLOSED)
    expect(zones.act('close', 16)).toBe(OK)
    zones.act('finish', 16)
    expect([state(), zones.act('open', 16), zones.act('finish', 16)]).toEqual([FULL, INVALID, OK])
    zones.act('reset', 16)
    expect([state(), zones.zoneAt(16)?.writePointer]).toEqual([EMPTY, 16])
    expect(zones.act('open', 0)).toBe(INVALID)
    expect(zones.act('open', 17)).toBe(INVALID)
    expect(zones.act('open', 1000)).toBe(INVALID)
  })

  it('of a host-aware device take writes anywhere', () => {
    const zones = table({ model: 'host-aware' })
    expect(zones.write(20, 1)).toBe(OK)
    expect(zones.zoneAt(16)).toMatchObject({ writePointer: 21, state: IOPEN })
    expect(zones.read(16, 32)).toBe(OK)
    expect(table().read(16, 32)).toBe(INVALID)
  })

  it('are reported, as many as fit', () => {
    const report = table().report(20, 64 + 2 * 64 + 63)
    expect(report.length).toBe(64 + 128)
    const view = new DataView(report.buffer)
    expect([view.getBigUint64(0, true), view.getBigUint64(72, true), view.getUint8(88), view.getUint8(89)]).toEqual([
      2n,
      16n,
      2,
      1,
    ])
  })
})

describe('a host-managed device', () => {
  const bits = (...numbers: number[]): bigint => numbers.reduce((set, n) => set | (1n << BigInt(n)), 0n)
  const drive = (model: ZonedOptions['model']) => {
    const fn = modelFunction(new BlockModel({ zoned: { ...options, model }, features: { DISCARD: true } }))
    return { fn, driver: new HandDriver(fn) }
  }

  it('§ 5.2.5.2 refuses a driver that knows no zones', () => {
    expect(drive('host-managed').driver.negotiate(bits(32))).toBe(false)
    expect(drive('host-managed').driver.negotiate(bits(17, 32))).toBe(true)
    expect(drive('host-aware').driver.negotiate(bits(32))).toBe(true)
  })

  it('§ 5.2.5.1 complains of a driver that discards', () => {
    const { fn, driver } = drive('host-managed')
    driver.start(bits(13, 17, 32), 1)
    expect(fn.violations.map(({ section }) => section)).toEqual(['5.2.5.1'])
  })
})
