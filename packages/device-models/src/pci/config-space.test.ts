import { openFdCount } from '@virtio-ts/native'
import { PciError } from '@virtio-ts/pci'
import { describe, expect, it } from 'vitest'
import { HandDriver, structures } from '../../test-support/hand-driver.ts'
import { NetModel } from '../net/net-model.ts'
import { RngModel } from '../rng-model.ts'
import { modelFunction } from './model-pci-function.ts'

/** Base address registers sized as firmware does it: all-ones out, what comes back says how long. */
function size(fn: ReturnType<typeof modelFunction>, index: number): { length: number; flags: number } {
  const at = 0x10 + 4 * index
  const before = fn.configRead32(at)
  fn.configWrite32(at, 0xffffffff)
  const mask = fn.configRead32(at)
  fn.configWrite32(at, before)
  const io = (before & 1) === 1
  return { length: mask === 0 ? 0 : (~(mask & (io ? ~3 : ~15)) + 1) >>> 0, flags: before & (io ? 1 : 15) }
}

describe('configuration space', () => {
  it('§ 4.1.2.1 a modern device has its own id, a revision from 1 on, and no I/O BAR', () => {
    const fn = modelFunction(new NetModel())
    expect(fn.configRead32(0)).toBe(0x10411af4)
    expect(fn.configRead8(8)).toBe(1)
    expect(fn.configRead32(8) >>> 8).toBe(0x020000)
    expect(fn.configRead32(0x2c)).toBe(0x11001af4)
    expect(fn.configRead16(6) & 0x10).toBe(0x10)
    expect(size(fn, 0)).toEqual({ length: 0, flags: 0 })
    expect(fn.configRead8(0x3d)).toBe(1)
    expect(fn.bus).toBe('model')
    expect(fn.address).toBe('0000:00:04.0')
  })

  it.each([
    [new NetModel(), 0x10001af4, 1],
    [new RngModel(), 0x10051af4, 4],
  ])(
    '§ 4.1.2.3 a transitional device has a transitional id, revision 0 and its type as subsystem',
    (model, id, type) => {
      for (const kind of ['transitional', 'legacy'] as const) {
        const fn = modelFunction(model, { interface: kind })
        expect(fn.configRead32(0)).toBe(id)
        expect(fn.configRead8(8)).toBe(0)
        expect(fn.configRead16(0x2e)).toBe(type)
        expect(size(fn, 0).flags).toBe(1)
      }
    },
  )

  it('sizes its BARs and keeps what is written into them', () => {
    const fn = modelFunction(new NetModel(), { interface: 'transitional' })
    expect(size(fn, 0)).toEqual({ length: 64, flags: 1 })
    expect(fn.bar(0)).toMatchObject({ index: 0, kind: 'io', length: 64 })
    expect(size(fn, 1)).toEqual({ length: 0x1000, flags: 0 })
    expect(size(fn, 4)).toEqual({ length: 0x4000, flags: 12 })
    expect(fn.bar(4)).toMatchObject({ index: 4, kind: 'memory', length: 0x4000 })
    fn.configWrite32(0x20, 0x12345678)
    expect(fn.configRead32(0x20)).toBe(0x1234400c)
    fn.configWrite32(0x24, 0x9)
    expect(fn.configRead32(0x24)).toBe(9)
    expect(() => fn.bar(5)).toThrow(PciError)
    expect(() => fn.bar(2)).toThrow(expect.objectContaining({ code: 'pci.no-bar' }))
  })

  it('keeps the identification from being written, and answers all-ones beyond its end', () => {
    const fn = modelFunction(new RngModel())
    fn.configWrite32(0, 0xffffffff)
    fn.configWrite8(8, 0xff)
    expect(fn.configRead32(0)).toBe(0x10441af4)
    expect(fn.configRead8(8)).toBe(1)
    expect(fn.configRead32(0x100)).toBe(0xffffffff)
  })

  it('§ 4.1.4 lists every structure with its place, and MSI-X', () => {
    const fn = modelFunction(new NetModel())
    const found = structures(fn)
    expect([...found.keys()]).toEqual([1, 3, 4, 2, 5])
    expect(found.get(1)).toMatchObject({ bar: 4, offset: 0, length: 60 })
    expect(found.get(3)).toMatchObject({ bar: 4, offset: 0x1000, length: 1 })
    expect(found.get(4)).toMatchObject({ bar: 4, offset: 0x2000, length: 17 })
    expect(found.get(2)).toMatchObject({ bar: 4, offset: 0x3000, length: 12 })
    const lengths = [...found.values()].map(({ at }) => fn.configRead8(at + 2))
    expect(lengths).toEqual([16, 16, 16, 20, 20])
    const msix = fn.configRead8((found.get(5)?.at ?? 0) + 1)
    expect(fn.configRead8(msix)).toBe(0x11)
    expect(fn.configRead8(msix + 1)).toBe(0)
    expect(fn.configRead16(msix + 2)).toBe(3)
    expect(fn.configRead32(msix + 4)).toBe(1)
    expect(fn.configRead32(msix + 8)).toBe(0x801)
    expect(fn.msixVectors).toBe(4)
  })

  it('leaves out what there is not: configuration of a device without one, MSI-X, INTx, capabilities of a legacy device', () => {
    const rng = modelFunction(new RngModel(), { msix: false, intx: false })
    expect([...structures(rng).keys()]).toEqual([1, 3, 2, 5])
    expect(rng.msixVectors).toBe(0)
    expect(rng.configRead8(0x3d)).toBe(0)
    expect(rng.intx()).toBeUndefined()
    expect(() => rng.enableMsix(1)).toThrow(expect.objectContaining({ code: 'pci.msix-unavailable' }))
    const legacy = modelFunction(new RngModel(), { interface: 'legacy', msix: false })
    expect(legacy.configRead8(0x34)).toBe(0)
    expect(legacy.configRead16(6) & 0x10).toBe(0)
  })

  it.each([0, 2, 4, 4096])('§ 4.1.4.4 tells a notify_off_multiplier of %i, in a memory or an I/O BAR', (multiplier) => {
    for (const capsInIoBar of [false, true]) {
      const fn = modelFunction(new NetModel(), { notifyOffMultiplier: multiplier, capsInIoBar })
      const notify = structures(fn).get(2)
      expect(fn.configRead32((notify?.at ?? 0) + 16)).toBe(multiplier)
      expect(notify?.bar).toBe(capsInIoBar ? 2 : 4)
      expect(fn.bar(notify?.bar ?? 0).kind).toBe(capsInIoBar ? 'io' : 'memory')
      expect(notify?.length).toBeGreaterThanOrEqual(2 * multiplier + 2)
    }
  })

  it('does not answer while decoding is off', () => {
    const fn = modelFunction(new NetModel())
    const driver = new HandDriver(fn)
    fn.configWrite16(4, 0)
    expect(driver.get16(18)).toBe(0xffff)
    fn.configWrite16(4, 2)
    expect(driver.get16(18)).toBe(3)
  })

  it('§ 4.1.4.1 records writes into capabilities, and takes none', () => {
    const fn = modelFunction(new NetModel())
    const at = structures(fn).get(1)?.at ?? 0
    fn.configWrite32(at + 8, 0x5000)
    expect(fn.configRead32(at + 8)).toBe(0)
    expect(fn.violations).toMatchObject([{ section: '4.1.4.1' }])
  })

  it('§ 4.1.4.9.1 shows the BARs through the window, in widths of 1, 2 and 4', () => {
    const fn = modelFunction(new NetModel())
    const at = structures(fn).get(5)?.at ?? 0
    const look = (bar: number, offset: number, length: number): void => {
      fn.configWrite8(at + 4, bar)
      fn.configWrite32(at + 8, offset)
      fn.configWrite32(at + 12, length)
    }
    look(4, 18, 2)
    expect(fn.configRead16(at + 16)).toBe(3)
    look(4, 0x2000, 1)
    expect(fn.configRead8(at + 16)).toBe(0x52)
    look(4, 0, 4)
    fn.configWrite32(at + 16, 1)
    expect(fn.bar(4).read32(0)).toBe(1)
    expect(fn.violations).toEqual([])
    look(4, 3, 2)
    fn.configRead32(at + 16)
    look(0, 0, 4)
    fn.configRead32(at + 16)
    expect(fn.violations.map(({ section }) => section)).toEqual(['4.1.4.9.2', '4.1.4.9.2'])
  })

  it('refuses accesses beyond a BAR', () => {
    const bar = modelFunction(new RngModel()).bar(4)
    for (const access of [
      () => bar.read32(bar.length - 3),
      () => bar.write8(-1, 0),
      () => bar.notify(bar.length, 0, 16),
      () => bar.read8(0.5),
    ])
      expect(access).toThrow(expect.objectContaining({ code: 'pci.bar-bounds' }))
  })

  it('closes without a trace, and twice', async () => {
    const before = openFdCount()
    const fn = modelFunction(new NetModel())
    fn.setBusMaster(true)
    fn.enableMsix(4)
    fn.enableMsix(2)
    fn.intx()
    expect(openFdCount()).toBe(before + 3)
    await fn.close()
    await fn.close()
    expect(openFdCount()).toBe(before)
    expect(() => fn.configRead8(0)).toThrow(expect.objectContaining({ code: 'pci.access' }))
    fn.disableMsix()
  })
})
