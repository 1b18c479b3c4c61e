import { DmaError } from '@virtio-ts/memory'
import { type DmaAddressSpace, PciError } from '@virtio-ts/pci'
import { featureSet, ReservedFeature } from '@virtio-ts/spec'
import { afterEach, describe, expect, it } from 'vitest'
import { FakeDevice } from './fake-device.fixture.ts'
import { FakeFunction, type FakeFunctionOptions } from './fake-function.fixture.ts'
import { VirtioPciDriver } from './virtio-pci-driver.ts'

/** A function on a bus with an IOMMU. */
class TranslatedFunction extends FakeFunction {
  readonly spaces: DmaAddressSpace[] = []
  refusal: Error | undefined

  setAddressSpace(space: DmaAddressSpace): void {
    this.spaces.push(space)
    if (this.refusal !== undefined) throw this.refusal
  }
}

const VERSION_1 = featureSet(ReservedFeature.VERSION_1)
const PLATFORM = featureSet(ReservedFeature.VERSION_1, ReservedFeature.ACCESS_PLATFORM)

const closes: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closes.splice(0)) await close()
})

async function attach(features: bigint, options: FakeFunctionOptions = {}) {
  const device = new FakeDevice()
  device.features = features
  const fn = new TranslatedFunction({ ...options, device })
  const transport = await VirtioPciDriver.attach(fn)
  closes.push(() => transport.close())
  return { device, fn, transport }
}

describe('§ 6.1 the address space', () => {
  it("§ 6.1 is the platform's with ACCESS_PLATFORM, told before the device hears of the features", async () => {
    const { device, fn, transport } = await attach(PLATFORM)
    fn.refusal = new PciError('pci.memory-locked', 'too little')
    await expect(transport.acceptFeatures(PLATFORM)).rejects.toMatchObject({ code: 'pci.memory-locked' })
    expect(device.accepted.size).toBe(0)
    fn.refusal = new DmaError('memory.unavailable', 'no huge pages')
    await expect(transport.acceptFeatures(PLATFORM)).rejects.toMatchObject({
      name: 'VirtioError',
      code: 'memory.unavailable',
      cause: fn.refusal,
    })
    fn.refusal = undefined
    await transport.acceptFeatures(PLATFORM)
    expect(fn.spaces).toEqual(['bus', 'bus', 'bus'])
    expect(device.accepted.get(1)).toBe(0b11)
  })

  it('§ 6.1 is physical memory without ACCESS_PLATFORM', async () => {
    const { fn, transport } = await attach(VERSION_1)
    await transport.acceptFeatures(VERSION_1)
    expect(fn.spaces).toEqual(['physical'])
  })

  it('§ 6.1 is physical memory on the legacy interface, which has no such bit', async () => {
    const { fn, transport } = await attach(0x20n, { capabilities: [], deviceId: 0x1000, revision: 0 })
    expect(transport.legacy).toBe(true)
    await transport.acceptFeatures(0x20n)
    expect(fn.spaces).toEqual(['physical'])
  })

  it('§ 6.1 is not guessed when ACCESS_PLATFORM is offered and left out', async () => {
    const { device, fn, transport } = await attach(PLATFORM)
    await expect(transport.acceptFeatures(VERSION_1)).rejects.toMatchObject({
      code: 'features.access-platform',
      message: expect.stringContaining('ACCESS_PLATFORM'),
    })
    expect(fn.spaces).toEqual([])
    expect(device.accepted.size).toBe(0)
  })

  it('is nothing to a bus that has one only', async () => {
    const device = new FakeDevice()
    device.features = PLATFORM
    const transport = await VirtioPciDriver.attach(new FakeFunction({ device }))
    closes.push(() => transport.close())
    await transport.acceptFeatures(VERSION_1)
    expect(device.accepted.get(1)).toBe(1)
  })
})
