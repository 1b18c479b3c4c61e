import { describe, expect, it } from 'vitest'
import { FakeFunction, type FakeFunctionOptions, modernCapabilities } from './fake-function.fixture.ts'
import { VirtioPciDriver } from './virtio-pci-driver.ts'

const transitional: FakeFunctionOptions = { deviceId: 0x1000, revision: 0 }
const legacyOnly: FakeFunctionOptions = { ...transitional, capabilities: [] }

describe('VirtioPciDriver.match', () => {
  it.each([
    ['a modern network device', { deviceId: 0x1041 }, 1],
    ['§ 4.1.2.2 any revision and subsystem', { deviceId: 0x1041, revision: 0, subsystem: 0x1100 }, 1],
    ['a modern file system device', { deviceId: 0x105a }, 26],
    ['the last device ID', { deviceId: 0x107f }, 63],
    ['a transitional network device', { deviceId: 0x1000, revision: 0 }, 1],
    ['a transitional balloon, whose ID says 2 and type is 5', { deviceId: 0x1002, revision: 0, subsystem: 5 }, 5],
    ['a transitional entropy source with a strange subsystem', { deviceId: 0x1005, subsystem: 0x1100 }, 4],
    ['§ 4.1.2.3 a transitional ID nobody listed: the subsystem says', { deviceId: 0x1012, subsystem: 18 }, 18],
  ] as const)('%s', (_, options, deviceType) => {
    expect(VirtioPciDriver.match(new FakeFunction(options))).toMatchObject({ deviceType })
  })

  it.each([
    ['another vendor', { vendor: 0x8086, deviceId: 0x1041 }],
    ['an ID below the range', { deviceId: 0x0fff }],
    ['an ID above the range', { deviceId: 0x1080 }],
    ['ID 0x1040, device type 0', { deviceId: 0x1040 }],
    ['a transitional ID that neither table nor subsystem knows', { deviceId: 0x1012, subsystem: 0 }],
  ] as const)('not %s', async (_, options) => {
    const fn = new FakeFunction(options)
    expect(VirtioPciDriver.match(fn)).toBeUndefined()
    await expect(VirtioPciDriver.attach(fn)).rejects.toMatchObject({ code: 'transport.not-virtio' })
    expect(fn.log).toEqual([])
  })
})

describe('VirtioPciDriver.attach', () => {
  it('takes the modern interface of a transitional device', async () => {
    const transport = await VirtioPciDriver.attach(new FakeFunction(transitional))
    expect(transport).toMatchObject({ name: 'pci-modern', legacy: false, deviceType: 1, location: '0000:00:05.0' })
    expect(transport.queueSizeWritable).toBe(true)
  })

  it('takes the legacy interface of a transitional device when asked', async () => {
    const transport = await VirtioPciDriver.attach(new FakeFunction(transitional), { interface: 'legacy' })
    expect(transport).toMatchObject({ name: 'pci-legacy', legacy: true, deviceType: 1 })
    expect(transport.queueSizeWritable).toBe(false)
  })

  it('§ 4.1.5.1.1.1 takes the legacy interface where there are no virtio capabilities', async () => {
    await expect(VirtioPciDriver.attach(new FakeFunction(legacyOnly))).resolves.toMatchObject({ name: 'pci-legacy' })
  })

  it('C20 does not fall back to legacy when modern capabilities are there but broken', async () => {
    const capabilities = modernCapabilities.slice(1)
    await expect(VirtioPciDriver.attach(new FakeFunction({ ...transitional, capabilities }))).rejects.toMatchObject({
      code: 'transport.no-modern',
    })
  })

  it.each([
    ['modern on a legacy device', legacyOnly, 'modern', 'transport.no-modern'],
    ['legacy on a modern device ID', {}, 'legacy', 'transport.no-legacy'],
    ['legacy on a revision above 0', { ...transitional, revision: 1 }, 'legacy', 'transport.no-legacy'],
    ['no capabilities on a modern device ID', { capabilities: [] }, 'auto', 'transport.no-legacy'],
    ['legacy with a memory BAR 0', { ...legacyOnly, ioBars: [] }, 'auto', 'transport.no-legacy'],
    ['legacy without BAR 0', { ...legacyOnly, bars: { 4: 64 } }, 'auto', 'pci.no-bar'],
    ['legacy with a BAR 0 of 16 bytes', { ...legacyOnly, bars: { 0: 16 }, msix: 0 }, 'auto', 'pci.bar-too-small'],
    [
      'legacy with MSI-X and no room for its registers',
      { ...legacyOnly, bars: { 0: 20 } },
      'auto',
      'pci.bar-too-small',
    ],
  ] as const)('refuses %s', async (_, options, wanted, code) => {
    const fn = new FakeFunction(options)
    const error = await VirtioPciDriver.attach(fn, { interface: wanted }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ name: 'VirtioError', code, message: expect.stringContaining(fn.address) })
    expect(fn.goneListeners).toBe(0)
  })

  it('takes BAR 0 of 20 bytes for a legacy device without MSI-X', async () => {
    const transport = await VirtioPciDriver.attach(new FakeFunction({ ...legacyOnly, bars: { 0: 20 }, msix: 0 }))
    expect(transport.configLength).toBe(0)
  })

  it('C1 says so when the capability list loops', async () => {
    const fn = new FakeFunction()
    fn.config[0x41] = 0x40
    await expect(VirtioPciDriver.attach(fn)).rejects.toMatchObject({ name: 'VirtioError', code: 'pci.cap-loop' })
  })

  it('C6 says so when the function is gone', async () => {
    const fn = new FakeFunction()
    fn.unplug()
    await expect(VirtioPciDriver.attach(fn)).rejects.toMatchObject({ code: 'device.gone' })
    const silent = new FakeFunction()
    silent.config.fill(0xff)
    await expect(VirtioPciDriver.attach(silent)).rejects.toMatchObject({ code: 'device.gone' })
  })

  it('refuses a timeout that is none', async () => {
    await expect(VirtioPciDriver.attach(new FakeFunction(), { resetTimeout: Number.NaN })).rejects.toThrow(RangeError)
  })

  it('takes interrupts and memory away from a device that a killed program left at work', async () => {
    const fn = new FakeFunction()
    fn.busMaster = true
    fn.msixEnabled = true
    await VirtioPciDriver.attach(fn)
    expect(fn.busMaster).toBe(false)
    expect(fn.msixEnabled).toBe(false)
  })
})
