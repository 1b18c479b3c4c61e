import { driverSuite } from '@virtio-ts/conformance'
import type { InitializeOptions } from '@virtio-ts/core'
import { type ModelPciFunction, modelFunction, strict } from '@virtio-ts/device-models'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, describe, expect, it } from 'vitest'
import { SampleDriver, sampleSpec } from './sample-driver.ts'
import { SampleModel } from './testing/sample-model.ts'

// What every driver has to get right. Change: a suite for each device you have (INTx, deferred execution, QEMU's).
driverSuite('sample model', {
  spec: sampleSpec,
  attach: async () => {
    const fn = modelFunction(new SampleModel(), { profile: strict() })
    return { transport: await VirtioPciDriver.attach(fn), violations: () => fn.violations, dispose: () => fn.close() }
  },
  open: (transport, options) => SampleDriver.open(transport, options),
  use: async (driver) => {
    expect(await driver.ask(Uint8Array.of(1, 2, 3))).toEqual(Uint8Array.of(3, 2, 1))
  },
})

// What yours has to get right. Change: everything below, as the driver and the model grow.
describe('SampleDriver', () => {
  const opened: { close(): Promise<void> }[] = []

  async function openOn(fn: ModelPciFunction, options: InitializeOptions = {}): Promise<SampleDriver> {
    const driver = await SampleDriver.open(await VirtioPciDriver.attach(fn), options)
    opened.push(driver, fn)
    return driver
  }

  afterEach(async () => {
    for (const each of opened.splice(0)) await each.close()
  })

  it('takes the longest question the device has room for, and refuses longer ones itself', async () => {
    const model = new SampleModel(8)
    const driver = await openOn(modelFunction(model))
    expect(driver.maxLength).toBe(8)
    expect(await driver.ask(new Uint8Array(8).fill(7))).toEqual(new Uint8Array(8).fill(7))
    await expect(driver.ask(new Uint8Array(9))).rejects.toThrow(RangeError)
    await expect(driver.ask(new Uint8Array(0))).rejects.toThrow(RangeError)
    expect(model.questions.length).toBe(1)
    // The field says nothing without its feature, and nothing is taken on trust that decides how much memory is needed.
    const without = { withoutFeatures: ['MAX_LENGTH'] }
    expect((await openOn(modelFunction(new SampleModel(8)), without)).maxLength).toBe(4096)
    expect((await openOn(modelFunction(new SampleModel(0xffffffff)))).maxLength).toBe(4096)
  })

  it('leaves the buffer of an aborted question to the device, and uses it again when it is back', async () => {
    const model = new SampleModel()
    const driver = await openOn(modelFunction(model))
    model.busy = true
    const given = new AbortController()
    const first = driver.ask(Uint8Array.of(1, 1), { signal: given.signal })
    // The request is in the ring before the caller changes its mind.
    await new Promise(setImmediate)
    given.abort(new Error('changed my mind'))
    await expect(first).rejects.toThrow('changed my mind')
    const second = driver.ask(Uint8Array.of(2, 3))
    await new Promise(setImmediate)
    model.busy = false
    expect(await second).toEqual(Uint8Array.of(3, 2))
    expect(model.questions).toEqual([Uint8Array.of(1, 1), Uint8Array.of(2, 3)])
    expect(await driver.ask(Uint8Array.of(4, 5))).toEqual(Uint8Array.of(5, 4))
  })

  it('does not pass an answer on that is not all there', async () => {
    const model = new SampleModel()
    const driver = await openOn(modelFunction(model))
    model.answer = (question) => question.subarray(1)
    await expect(driver.ask(Uint8Array.of(1, 2))).rejects.toMatchObject({ code: 'sample.short-answer' })
    model.answer = (question) => question
    expect(await driver.ask(Uint8Array.of(1, 2))).toEqual(Uint8Array.of(1, 2))
  })

  it('does not touch memory it has given back', async () => {
    const fn = modelFunction(new SampleModel())
    const driver = await openOn(fn)
    await driver.ask(Uint8Array.of(1, 2))
    await driver.close()
    // All there is: whoever has it now finds it as it was.
    const { bytes } = fn.dma.allocate(1 << 20)
    await expect(driver.ask(Uint8Array.of(3, 4))).rejects.toMatchObject({ code: 'device.closed' })
    expect(bytes.some((byte) => byte !== 0)).toBe(false)
  })
})
