import type { DeviceProfile, ModelFunctionOptions } from '@virtio-ts/device-models'
import { hostile, modelFunction, RngModel, type RngModelOptions } from '@virtio-ts/device-models'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, describe, expect, it } from 'vitest'
import { RngDriver, type RngOptions } from './index.ts'

interface Bench {
  readonly driver: RngDriver
  readonly model: RngModel
  readonly fn: ReturnType<typeof modelFunction<RngModel>>
}

const benches: Bench[] = []

async function bench(
  more: { model?: RngModelOptions; options?: RngOptions; on?: ModelFunctionOptions; profile?: DeviceProfile } = {},
): Promise<Bench> {
  const model = new RngModel(more.model)
  const fn = modelFunction(model, { ...more.on, ...(more.profile && { profile: more.profile }) })
  const driver = await RngDriver.open(await VirtioPciDriver.attach(fn), more.options)
  const opened = { driver, model, fn }
  benches.push(opened)
  return opened
}

afterEach(async () => {
  for (const { driver, fn } of benches.splice(0)) {
    await driver.close()
    expect(fn.violations).toEqual([])
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await fn.close()
  }
})

/** Counts up, so that order and completeness show. */
function counting(): (into: Uint8Array) => void {
  let next = 0
  return (into) => into.forEach((_, i) => void (into[i] = next++))
}

const expected = (from: number, length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => from + i)

describe('§ 5.4.6.1 randomFill', () => {
  it.each([1, 63, 4096, 4097, 100_000])(
    'fills %d bytes, in order, and hands back what it was given',
    async (length) => {
      const { driver } = await bench({ model: { source: counting() } })
      const into = new Uint8Array(length)
      expect(await driver.randomFill(into)).toBe(into)
      expect(Buffer.compare(into, expected(0, length))).toBe(0)
    },
  )

  it('goes by the length the device wrote, however little that is', async () => {
    const { driver, model } = await bench({ model: { source: counting(), bytesPerBuffer: 3 } })
    const into = await driver.randomFill(new Uint8Array(100))
    expect(into).toEqual(expected(0, 100))
    expect(model.bytes).toBe(100)
  })

  it('never asks for more than is wanted, nor more than its buffer', async () => {
    const asked: number[] = []
    const { driver } = await bench({
      model: { source: (into) => asked.push(into.fill(1).length) },
      options: { bufferSize: 64 },
    })
    await driver.randomFill(new Uint8Array(150))
    expect(asked).toEqual([64, 64, 22])
  })

  it('of nothing asks for nothing', async () => {
    const { driver, model } = await bench()
    await driver.randomFill(new Uint8Array(0))
    expect(model.bytes).toBe(0)
  })

  it('serves its callers one after the other', async () => {
    const { driver } = await bench({ model: { source: counting(), bytesPerBuffer: 7 }, on: { execution: 'deferred' } })
    const filled = await Promise.all([1, 2, 3].map(() => driver.randomFill(new Uint8Array(50))))
    expect(filled).toEqual([expected(0, 50), expected(50, 50), expected(100, 50)])
  })

  it('takes 70000 requests, more than an index counts', async () => {
    const { driver, fn } = await bench({
      options: { interrupts: 'none', bufferSize: 1 },
      model: { queueSize: 2, source: (into) => void into.fill(7) },
    })
    const into = await driver.randomFill(new Uint8Array(70_000))
    expect(into.every((byte) => byte === 7)).toBe(true)
    expect(fn.stats).toBeDefined()
  })
})

describe('a device without entropy', () => {
  it('is said to have none, and asked again next time', async () => {
    const { driver } = await bench({ profile: hostile({ kind: 'length-under' }) })
    await expect(driver.randomFill(new Uint8Array(8))).rejects.toMatchObject({ code: 'rng.no-entropy' })
    expect((await driver.randomFill(new Uint8Array(8))).length).toBe(8)
  })

  it('that claims more than the buffer holds is not believed', async () => {
    const { driver } = await bench({ profile: hostile({ kind: 'length-over' }) })
    await expect(driver.randomFill(new Uint8Array(8))).rejects.toMatchObject({ code: 'ring.length' })
  })
})

describe('a caller that gives up', () => {
  it('leaves the buffer with the device, and nothing is written for it any more', async () => {
    const count = counting()
    const asked: number[] = []
    const source = (into: Uint8Array): void => {
      asked.push(into.length)
      count(into)
    }
    const { driver, model } = await bench({ model: { source }, profile: hostile({ kind: 'deaf', times: 1 }) })
    const stop = new AbortController()
    const impatient = new Uint8Array(32)
    const first = driver.randomFill(impatient, { signal: stop.signal })
    const second = driver.randomFill(new Uint8Array(16))
    await new Promise((resolve) => setImmediate(resolve))
    stop.abort(new Error('enough'))
    await expect(first).rejects.toThrow('enough')
    await new Promise((resolve) => setTimeout(resolve, 20))
    // The one buffer is with the device still, so that is all it finds.
    model.onNotify(0)
    expect(asked).toEqual([32])
    expect(await second).toEqual(expected(32, 16))
    expect(impatient).toEqual(new Uint8Array(32))
  })

  it("between the device's answer and its own turn of the event loop gets nothing any more", async () => {
    const fn = modelFunction(new RngModel())
    const inner = await VirtioPciDriver.attach(fn)
    const stop = new AbortController()
    const transport = new Proxy(inner, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target)
        if (key === 'onUsed') {
          return (index: number, listener: () => void) =>
            target.onUsed(index, () => {
              listener()
              stop.abort(new Error('now'))
            })
        }
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const driver = await RngDriver.open(transport)
    const into = new Uint8Array(64)
    await expect(driver.randomFill(into, { signal: stop.signal })).rejects.toThrow('now')
    await new Promise((resolve) => setImmediate(resolve))
    expect(into).toEqual(new Uint8Array(64))
    await driver.close()
    await fn.close()
  })

  it('before its turn came has not kept anyone waiting', async () => {
    const { driver } = await bench({ on: { execution: 'deferred' } })
    const first = driver.randomFill(new Uint8Array(16))
    const stop = new AbortController()
    const second = driver.randomFill(new Uint8Array(16), { signal: stop.signal })
    const third = driver.randomFill(new Uint8Array(16))
    stop.abort(new Error('never mind'))
    await expect(second).rejects.toThrow('never mind')
    await Promise.all([first, third])
    await expect(
      driver.randomFill(new Uint8Array(1), { signal: AbortSignal.abort(new Error('before')) }),
    ).rejects.toThrow('before')
    await driver.randomFill(new Uint8Array(1))
  })

  it('and those behind are rejected when the driver is closed, buffer or not', async () => {
    const { driver } = await bench({ profile: hostile({ kind: 'never-complete' }) })
    const stop = new AbortController()
    const first = driver.randomFill(new Uint8Array(16), { signal: stop.signal })
    const others = [1, 2].map(() => driver.randomFill(new Uint8Array(16)))
    await new Promise((resolve) => setImmediate(resolve))
    stop.abort(new Error('enough'))
    await expect(first).rejects.toThrow('enough')
    // Behind a caller whose turn does not end, giving up takes effect at once.
    const stopToo = new AbortController()
    const impatient = driver.randomFill(new Uint8Array(16), { signal: stopToo.signal })
    stopToo.abort(new Error('enough too'))
    await expect(impatient).rejects.toThrow('enough too')
    const ends = Promise.allSettled(others)
    await driver.close()
    for (const end of await ends) expect(end).toMatchObject({ status: 'rejected', reason: { code: 'device.closed' } })
  })

  it('and those behind are rejected when the device does not even let go', async () => {
    const profile = hostile([{ kind: 'never-complete' }, { kind: 'reset-never', after: 1 }])
    const fn = modelFunction(new RngModel(), { profile })
    const driver = await RngDriver.open(await VirtioPciDriver.attach(fn, { resetTimeout: 20 }))
    const stop = new AbortController()
    const first = driver.randomFill(new Uint8Array(16), { signal: stop.signal })
    const second = driver.randomFill(new Uint8Array(16)).catch((error) => error.code)
    await new Promise((resolve) => setImmediate(resolve))
    stop.abort(new Error('enough'))
    await expect(first).rejects.toThrow('enough')
    await expect(driver.close()).rejects.toMatchObject({ code: 'device.reset-timeout' })
    expect(await second).toBe('device.closed')
    expect(fn.dma.stats.quarantinedBytes).toBeGreaterThan(4096)
    await fn.close()
  })

  it('and those behind are rejected when the device is gone', async () => {
    const { driver, fn } = await bench({ profile: hostile({ kind: 'never-complete' }) })
    const first = driver.randomFill(new Uint8Array(16))
    const second = driver.randomFill(new Uint8Array(16))
    await new Promise((resolve) => setImmediate(resolve))
    fn.unplug()
    await expect(first).rejects.toMatchObject({ code: 'device.gone' })
    await expect(second).rejects.toMatchObject({ code: 'device.gone' })
  })
})

it('options that cannot be leave nothing behind', async () => {
  const fn = modelFunction(new RngModel())
  await expect(RngDriver.open(await VirtioPciDriver.attach(fn), { bufferSize: 0 })).rejects.toBeInstanceOf(Error)
  await expect(RngDriver.open(await VirtioPciDriver.attach(fn), { bufferSize: 2 ** 40 })).rejects.toMatchObject({
    code: 'memory.exhausted',
  })
  expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
  await fn.close()
})
