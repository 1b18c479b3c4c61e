import { BlockRequest, BlockZone } from '@virtio-ts/spec'
import { hostile, strict, type ZonedOptions } from '@virtio-ts/device-models'
import { afterEach, describe, expect, it } from 'vitest'
import { type BlockBench, type BlockBenchOptions, openBlockBench, pattern, turns } from '../test-support/block-bench.ts'

const benches: BlockBench[] = []
const KiB = 1024
const ZONE = 512 * KiB

/** Eight zones of 512 KiB, the first conventional, and a last one of 256 KiB. */
const zoned: ZonedOptions = {
  model: 'host-managed',
  zoneSectors: 1024,
  zoneCapacity: 1000,
  conventional: 1,
  maxOpen: 2,
  maxActive: 3,
  maxAppendSectors: 64,
  writeGranularity: 4096,
}

async function bench(options: BlockBenchOptions = {}): Promise<BlockBench> {
  const { model, profile = strict(), ...rest } = options
  const opened = await openBlockBench({ ...rest, profile, model: { zoned, capacity: 8 * 1024 + 512, ...model } })
  benches.push(opened)
  return opened
}

afterEach(async () => {
  for (const { disk, fn } of benches.splice(0)) {
    await disk.close()
    expect(fn.violations).toEqual([])
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
  }
})

describe('§ 5.2.5.1 a zoned device', () => {
  it('states its measures, and takes no discards when it is host-managed', async () => {
    const { disk } = await bench({ model: { features: { DISCARD: true } } })
    expect(disk.zoned).toEqual({
      model: 'host-managed',
      zoneSize: ZONE,
      maxOpenZones: 2,
      maxActiveZones: 3,
      maxAppend: 32 * KiB,
      writeGranularity: 4096,
    })
    expect([disk.features.has('ZONED'), disk.features.has('DISCARD')]).toEqual([true, false])
    await expect(disk.discard(0, 4096)).rejects.toMatchObject({ code: 'block.unsupported' })
  })

  it('discards when it is host-aware', async () => {
    const { disk } = await bench({ model: { zoned: { ...zoned, model: 'host-aware' } } })
    expect([disk.features.has('ZONED'), disk.features.has('DISCARD')]).toEqual([true, true])
    await disk.write(ZONE * 2 + 8192, pattern(4096))
    expect((await disk.zones(ZONE * 2, 1))[0]).toMatchObject({
      type: 'sequential-preferred',
      writePointer: ZONE * 2 + 12288,
    })
  })

  it('is a regular one when it manages its zones itself', async () => {
    const { disk } = await bench({ model: { zoned: { ...zoned, model: 'none' } } })
    expect(disk.features.has('ZONED')).toBe(true)
    expect(disk.zoned).toBeUndefined()
    await disk.write(ZONE - 512, pattern(1024))
    await expect(disk.zones()).rejects.toMatchObject({ code: 'block.unsupported' })
  })

  it('is not driven at all by one who knows no zones', async () => {
    await expect(openBlockBench({ model: { zoned }, options: { withoutFeatures: ['ZONED'] } })).rejects.toMatchObject({
      code: 'features.refused',
    })
  })

  it.each([
    ['of no length', { zoneSectors: 0 }],
    ['not of whole write units', { zoneSectors: 1001 }],
    ['with writes of no length', { writeGranularity: 0 }],
    ['with writes of half a sector', { writeGranularity: 256 }],
  ])('with zones %s is none', async (_name, wrong) => {
    const { disk } = await bench({ model: { zoned: { ...zoned, model: 'host-aware', ...wrong } } })
    expect(disk.features.has('ZONED')).toBe(false)
    await disk.write(0, pattern(512))
  })
})

describe('§ 5.2.6.1 zones', () => {
  it('are reported, from any place on, as many as are asked for', async () => {
    const { disk } = await bench()
    const zones = await disk.zones()
    expect(zones.map(({ offset }) => offset)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8].map((n) => n * ZONE))
    expect(zones[0]).toEqual({
      offset: 0,
      capacity: ZONE,
      type: 'conventional',
      state: 'not-write-pointer',
      writePointer: undefined,
    })
    expect(zones[3]).toEqual({
      offset: 3 * ZONE,
      capacity: 1000 * 512,
      type: 'sequential-required',
      state: 'empty',
      writePointer: 3 * ZONE,
    })
    expect(await disk.zones(3 * ZONE + 5, 2)).toEqual(zones.slice(3, 5))
    expect(await disk.zones(disk.capacity, 2)).toEqual([])
    expect(await disk.zones(0, 0)).toEqual([])
  })

  it('are reported in as many requests as it takes', async () => {
    const { disk, model } = await bench({
      model: { zoned: { ...zoned, zoneSectors: 8, zoneCapacity: 8 }, sizeMax: 1024, segMax: 1 },
    })
    const zones = await disk.zones()
    expect(zones.length).toBe((8 * 1024 + 512) / 8)
    expect(new Set(zones.map(({ offset }) => offset)).size).toBe(zones.length)
    expect(model.requests).toBeGreaterThan(10)
  })

  it('take writes where the write pointer is, and appends wherever that is', async () => {
    const { disk, model } = await bench()
    await disk.write(ZONE, pattern(8192))
    await expect(disk.write(ZONE, pattern(4096))).rejects.toMatchObject({ code: 'block.zone-unaligned' })
    expect(await disk.append(ZONE, pattern(4096, 5))).toBe(ZONE + 8192)
    expect(await disk.append(ZONE, [pattern(100, 6), pattern(8092, 7)])).toBe(ZONE + 12288)
    expect((await disk.zones(ZONE, 1))[0]).toMatchObject({ state: 'implicitly-open', writePointer: ZONE + 20480 })
    expect(await disk.read(ZONE + 8192, 4096)).toEqual(pattern(4096, 5))
    expect(model.store.read(1024 + 24, 100)).toEqual(pattern(100, 6))
  })

  it('take a long write in order, and up to their end', async () => {
    const { disk } = await bench({
      on: { execution: 'deferred' },
      model: { order: 'reversed', sizeMax: 4096, segMax: 4 },
    })
    const data = pattern(1000 * 512)
    await disk.write(2 * ZONE, data)
    expect((await disk.zones(2 * ZONE, 1))[0]).toMatchObject({ state: 'full', writePointer: undefined })
    const found = await disk.read(2 * ZONE, 2 * ZONE)
    expect(Buffer.compare(found.subarray(0, data.length), data)).toBe(0)
    await expect(disk.append(2 * ZONE, pattern(4096))).rejects.toMatchObject({ code: 'block.zone-invalid' })
  })

  it('take direct writes the same way', async () => {
    const { disk } = await bench({
      on: { execution: 'deferred' },
      model: { order: 'reversed', sizeMax: 4096, segMax: 4 },
    })
    const region = disk.allocate(65536)
    region.bytes.set(pattern(65536))
    await disk.writeFrom(ZONE, region)
    expect(await disk.read(ZONE, 65536)).toEqual(pattern(65536))
  })

  it('are opened, closed, finished and reset', async () => {
    const { disk } = await bench()
    const state = async (zone: number): Promise<string | undefined> => (await disk.zones(zone * ZONE, 1))[0]?.state
    await disk.openZone(ZONE)
    expect(await state(1)).toBe('explicitly-open')
    await disk.closeZone(ZONE)
    expect(await state(1)).toBe('empty')
    await disk.openZone(ZONE)
    await disk.append(ZONE, pattern(4096))
    await disk.closeZone(ZONE)
    expect(await state(1)).toBe('closed')
    await disk.finishZone(ZONE)
    expect(await state(1)).toBe('full')
    await disk.resetZone(ZONE)
    expect(await state(1)).toBe('empty')
    expect(await disk.read(ZONE, 4096)).toEqual(new Uint8Array(4096))
    await disk.append(2 * ZONE, pattern(4096))
    await disk.finishZone(3 * ZONE)
    await disk.resetAllZones()
    expect([await state(2), await state(3)]).toEqual(['empty', 'empty'])
  })

  it('are limited in number', async () => {
    const { disk } = await bench()
    await disk.openZone(ZONE)
    await disk.openZone(2 * ZONE)
    await expect(disk.openZone(3 * ZONE)).rejects.toMatchObject({ code: 'block.zone-open-limit' })
    await disk.append(ZONE, pattern(4096))
    await disk.closeZone(ZONE)
    await disk.openZone(3 * ZONE)
    await expect(disk.append(4 * ZONE, pattern(4096))).rejects.toMatchObject({ code: 'block.zone-active-limit' })
    await expect(disk.openZone(0)).rejects.toMatchObject({ code: 'block.zone-invalid' })
  })

  it('are reset by a secure erase', async () => {
    const { disk } = await bench({ model: { secureErase: { alignment: 1024 } } })
    await disk.append(ZONE, pattern(4096))
    await disk.secureErase(ZONE, ZONE)
    expect((await disk.zones(ZONE, 1))[0]).toMatchObject({ state: 'empty' })
  })

  it('are a RangeError where no device could do it', async () => {
    const { disk, model } = await bench()
    for (const wrong of [
      disk.append(ZONE + 4096, pattern(4096)),
      disk.append(ZONE, pattern(512)),
      disk.append(ZONE, new Uint8Array(0)),
      disk.append(ZONE, new Uint8Array(36 * KiB)),
      disk.openZone(512),
      disk.resetZone(9 * ZONE),
      disk.write(ZONE, pattern(512)),
      disk.write(ZONE + 512, pattern(4096)),
      disk.zones(-1),
      disk.zones(0, Number.NaN),
    ]) {
      await expect(wrong).rejects.toBeInstanceOf(RangeError)
    }
    expect(model.requests).toBe(0)
  })

  it('cannot be appended to where the device says 0', async () => {
    const { disk } = await bench({ model: { zoned: { ...zoned, maxAppendSectors: 0 } } })
    await expect(disk.append(ZONE, pattern(4096))).rejects.toMatchObject({ code: 'block.unsupported' })
  })

  it('are not changed where the device is read-only', async () => {
    const { disk } = await bench({ model: { readOnly: true } })
    for (const change of [disk.append(ZONE, pattern(4096)), disk.resetZone(ZONE), disk.resetAllZones()]) {
      await expect(change).rejects.toMatchObject({ code: 'block.read-only' })
    }
    expect((await disk.zones()).length).toBe(9)
  })
})

describe('what a hostile device says of its zones', () => {
  /** The answer to the first zone report, changed. */
  const reports = (change: (view: DataView, at: number) => void) => ({
    name: 'lying',
    on(point: string, moment: unknown): void {
      const request = moment as { type: number; answer: Uint8Array }
      if (point !== 'block-request' || request.type !== BlockRequest.T_ZONE_REPORT) return
      change(new DataView(request.answer.buffer), BlockZone.REPORT_HEADER_LENGTH)
    },
  })

  it.each<[string, (view: DataView, at: number) => void]>([
    ['no zones', (view) => view.setBigUint64(0, 0n, true)],
    ['more than fit', (view) => view.setBigUint64(0, 2n ** 63n, true)],
    ['a zone elsewhere', (view, at) => view.setBigUint64(at + BlockZone.START, 8n, true)],
    ['the same zone twice', (view, at) => view.setBigUint64(at + 64 + BlockZone.START, 0n, true)],
    ['a zone of too much', (view, at) => view.setBigUint64(at + BlockZone.CAPACITY, 2n ** 60n, true)],
    ['a type nobody knows', (view, at) => view.setUint8(at + BlockZone.TYPE, 9)],
    ['a state nobody knows', (view, at) => view.setUint8(at + BlockZone.STATE, 5)],
    ['a write pointer elsewhere', (view, at) => view.setBigUint64(at + 64 + BlockZone.WRITE_POINTER, 0n, true)],
  ])('%s', async (_name, change) => {
    const { disk } = await bench({ profile: reports(change) })
    await expect(disk.zones()).rejects.toMatchObject({ code: 'block.bad-answer' })
    expect(disk.stats().held).toBe(0)
  })

  it('rubbish, or nothing', async () => {
    for (const kind of ['answer-garbage', 'answer-zero'] as const) {
      const { disk } = await bench({ profile: hostile({ kind }) })
      await expect(disk.zones()).rejects.toMatchObject({ code: 'block.bad-answer' })
    }
  })

  it('that data went to another zone', async () => {
    for (const value of [0, 255]) {
      const { disk } = await bench({ profile: hostile({ kind: 'answer-garbage', value }) })
      await expect(disk.append(ZONE, pattern(4096))).rejects.toMatchObject({ code: 'block.bad-answer' })
      await turns()
      expect(disk.stats().held).toBe(0)
    }
  })
})
