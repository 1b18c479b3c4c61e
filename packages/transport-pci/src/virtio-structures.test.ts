import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CommonConfig, isVirtioError, PciCapabilityType } from '@virtio-ts/spec'
import {
  type FakeCapability,
  FakeFunction,
  type FakeFunctionOptions,
  modernCapabilities,
} from './fake-function.fixture.ts'
import { VirtioPciDriver } from './virtio-pci-driver.ts'

const { COMMON, DEVICE, ISR, NOTIFY } = PciCapabilityType

/** The honest list, with one type's capability altered. */
function altered(type: number, change: Partial<FakeCapability>): readonly FakeCapability[] {
  return modernCapabilities.map((capability) => (capability.type === type ? { ...capability, ...change } : capability))
}

const attach = (options: FakeFunctionOptions) => VirtioPciDriver.attach(new FakeFunction(options))

describe('capability selection', () => {
  it.each([
    [
      'C2 a structure in BAR 6, a reserved value',
      { capabilities: altered(COMMON, { bar: 6 }) },
      'transport.no-modern',
      /0x4c.*BAR 6/,
    ],
    ['C2 a structure in BAR 255', { capabilities: altered(NOTIFY, { bar: 255 }) }, 'transport.no-modern', /BAR 255/],
    ['C2 a structure in a BAR that is not there', { capabilities: altered(ISR, { bar: 3 }) }, 'pci.no-bar', /BAR 3/],
    [
      'C2 a structure that ends beyond its BAR',
      { capabilities: altered(COMMON, { offset: 0x3ffc }) },
      'pci.bar-too-small',
      /0x4c/,
    ],
    [
      'C2 a structure longer than its BAR by a byte',
      { capabilities: altered(NOTIFY, { length: 0x1001 }) },
      'pci.bar-too-small',
      /needs BAR 4/,
    ],
    [
      'C2 offset + length overflowing 32 bits',
      { capabilities: altered(COMMON, { offset: 0xfffffffc, length: 0x100 }) },
      'pci.bar-too-small',
      /BAR 4/,
    ],
    [
      'C2 a common configuration of 55 bytes',
      { capabilities: altered(COMMON, { length: 55 }) },
      'pci.bar-too-small',
      /55 bytes/,
    ],
    [
      'C2 a notification structure of 1 byte',
      { capabilities: altered(NOTIFY, { length: 1 }) },
      'pci.bar-too-small',
      /1 bytes/,
    ],
    ['C2 an empty ISR status', { capabilities: altered(ISR, { length: 0 }) }, 'pci.bar-too-small', /ISR/],
    [
      'C2 an empty device configuration',
      { capabilities: altered(DEVICE, { length: 0 }) },
      'pci.bar-too-small',
      /device configuration/,
    ],
    ['C2 a capability of 12 bytes', { capabilities: altered(COMMON, { capLength: 12 }) }, 'pci.cap-bounds', /12 bytes/],
    [
      'C2 a notification capability without its multiplier',
      { capabilities: altered(NOTIFY, { capLength: 16 }) },
      'pci.cap-bounds',
      /needs 20/,
    ],
    [
      'C2 a capability that says it reaches beyond configuration space',
      { capabilities: altered(COMMON, { capLength: 255 }) },
      'pci.cap-bounds',
      /beyond/,
    ],
    [
      'C2 a common configuration at an odd place',
      { capabilities: altered(COMMON, { offset: 2 }) },
      'transport.misaligned',
      /offset 2/,
    ],
    [
      'C2 a notification structure at an odd place',
      { capabilities: altered(NOTIFY, { offset: 0x2fff }) },
      'transport.misaligned',
      /multiple of 2/,
    ],
    [
      'C2 an odd multiplier',
      { capabilities: altered(NOTIFY, { multiplier: 3 }) },
      'transport.misaligned',
      /multiplier 3/,
    ],
    [
      'C2 no ISR status',
      { capabilities: modernCapabilities.filter(({ type }) => type !== ISR) },
      'transport.no-modern',
      /ISR/,
    ],
    [
      'C2 only a device configuration',
      { capabilities: modernCapabilities.filter(({ type }) => type === DEVICE) },
      'transport.no-modern',
      /common/,
    ],
  ] as const)('%s: refused by name', async (_, options, code, message) => {
    const error = await attach(options).catch((reason: unknown) => reason)
    expect(isVirtioError(error)).toBe(true)
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) })
    expect(error).toMatchObject({ message: expect.stringContaining('0000:00:05.0') })
  })

  it('§ 4.1.4.1 uses the first usable capability of a type', async () => {
    const capabilities = [
      { type: NOTIFY, bar: 7, offset: 0, length: 4, multiplier: 0 },
      { type: NOTIFY, bar: 2, offset: 0, length: 4, multiplier: 0 },
      ...modernCapabilities,
    ]
    const fn = new FakeFunction({ capabilities, bars: { 2: 4, 4: 0x4000 }, ioBars: [2] })
    const transport = await VirtioPciDriver.attach(fn)
    await transport.reset()
    await transport.enableQueue(0, 256, await addresses(fn))
    transport.notify(0)
    expect(fn.log.at(-1)).toBe('notify16 bar2+0x0 0')
  })

  it('§ 4.1.4.1 ignores reserved types, and accepts a larger cap_len and length', async () => {
    const capabilities = [
      { type: 0, bar: 0, offset: 0, length: 0 },
      { type: 9, bar: 0xf4, offset: 0, length: 0 },
      { type: PciCapabilityType.PCI, bar: 0, offset: 0, length: 0 },
      ...altered(COMMON, { capLength: 24, length: 0x1000 }),
    ]
    await expect(attach({ capabilities })).resolves.toMatchObject({ name: 'pci-modern' })
  })

  it('works without device configuration', async () => {
    const transport = await attach({ capabilities: modernCapabilities.filter(({ type }) => type !== DEVICE) })
    expect(transport.configLength).toBe(0)
    await expect(transport.readConfig(0, new Uint8Array(1))).rejects.toMatchObject({ code: 'config.bounds' })
    await expect(transport.readConfig(0, new Uint8Array(0))).resolves.toBeUndefined()
  })

  it('takes the smallest structures there are', async () => {
    const capabilities = altered(COMMON, { length: CommonConfig.MINIMUM_LENGTH })
    await expect(attach({ capabilities, bars: { 4: 0x4000 } })).resolves.toMatchObject({ name: 'pci-modern' })
  })

  it('C1 C2 any capabilities: a transport or a VirtioError', async () => {
    const capability = fc.record({
      type: fc.integer({ min: 0, max: 9 }),
      bar: fc.integer({ min: 0, max: 7 }),
      offset: fc.oneof(fc.constantFrom(0, 0x1000, 0x3000, 0x3ffe), fc.integer({ min: 0, max: 0xffffffff })),
      length: fc.oneof(fc.constantFrom(0, 1, 2, 56, 0x1000), fc.integer({ min: 0, max: 0xffffffff })),
      capLength: fc.constantFrom(0, 4, 16, 20, 24, 255),
      multiplier: fc.integer({ min: 0, max: 0xffffffff }),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(capability, { maxLength: 5 }),
        fc.constantFrom(0x1000, 0x1041),
        async (capabilities, deviceId) => {
          const fn = new FakeFunction({ capabilities, deviceId, revision: 0 })
          try {
            const transport = await VirtioPciDriver.attach(fn)
            return ['pci-modern', 'pci-legacy'].includes(transport.name)
          } catch (error) {
            return isVirtioError(error)
          }
        },
      ),
      { numRuns: 2_000 },
    )
  })
})

async function addresses(fn: FakeFunction) {
  const region = fn.dma.allocate(16384, 4096)
  const at = (offset: number) => (region.deviceAddress + offset) as typeof region.deviceAddress
  return { descriptorArea: at(0), driverArea: at(4096), deviceArea: at(8192) }
}
