import { hostile } from '@virtio-ts/device-models'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type BlockBench, type BlockBenchOptions, openBlockBench, pattern, turns } from '../test-support/block-bench.ts'

const benches: BlockBench[] = []

async function bench(options: BlockBenchOptions = {}): Promise<BlockBench> {
  const opened = await openBlockBench(options)
  benches.push(opened)
  return opened
}

afterEach(async () => {
  for (const { disk, fn } of benches.splice(0)) {
    await disk.close()
    expect(fn.violations).toEqual([])
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await fn.close()
  }
})

describe('giving up', () => {
  it('before it began is heard at once, and the device hears nothing', async () => {
    const { disk, model } = await bench()
    const signal = AbortSignal.abort(new Error('no'))
    const onReleased = vi.fn<() => void>()
    await expect(disk.read(0, 512, { signal })).rejects.toThrow('no')
    await expect(disk.readInto(0, disk.allocate(512), { signal, onReleased })).rejects.toThrow('no')
    expect(onReleased).toHaveBeenCalledTimes(1)
    expect(model.requests).toBe(0)
  })

  it('writes nothing to the array afterwards, and keeps the memory until the device is done', async () => {
    const { disk, model } = await bench()
    await disk.write(0, pattern(4096))
    model.hold()
    const abort = new AbortController()
    const into = new Uint8Array(4096)
    const read = disk.read(0, into, { signal: abort.signal })
    await turns()
    expect(model.held).toBe(1)
    abort.abort(new Error('enough'))
    await expect(read).rejects.toThrow('enough')
    expect(disk.stats().held).toBe(1)
    model.release()
    await turns()
    expect(disk.stats().held).toBe(0)
    expect(into).toEqual(new Uint8Array(4096))
  })

  it('keeps the buffers of the caller until the device is done', async () => {
    const { disk, model } = await bench()
    model.hold()
    const region = disk.allocate(512)
    const abort = new AbortController()
    const onReleased = vi.fn<() => void>()
    const read = disk.readInto(0, region, { signal: abort.signal, onReleased })
    await turns()
    abort.abort(new Error('enough'))
    await expect(read).rejects.toThrow('enough')
    await turns()
    expect(onReleased).not.toHaveBeenCalled()
    model.release()
    await turns()
    expect(onReleased).toHaveBeenCalledTimes(1)
  })

  it('gives buffers back before the promise resolves', async () => {
    const { disk } = await bench({ model: { sizeMax: 512, segMax: 2 } })
    const order: string[] = []
    await disk
      .writeFrom(0, disk.allocate(8192), { onReleased: () => order.push('released') })
      .then(() => order.push('resolved'))
    expect(order).toEqual(['released', 'resolved'])
  })

  it('gives buffers back at close', async () => {
    const { disk, model } = await bench()
    model.hold()
    const onReleased = vi.fn<() => void>()
    const read = disk.readInto(0, disk.allocate(512), { onReleased })
    await turns()
    await Promise.all([expect(read).rejects.toMatchObject({ code: 'device.closed' }), disk.close()])
    expect(onReleased).toHaveBeenCalledTimes(1)
  })

  it('lets those behind go on', async () => {
    const { disk, model } = await bench({ options: { maxInFlight: 1 } })
    model.hold()
    const first = disk.read(0, 512)
    const abort = new AbortController()
    const second = disk.read(0, 512, { signal: abort.signal })
    const third = disk.read(512, 512)
    await turns()
    abort.abort(new Error('enough'))
    await expect(second).rejects.toThrow('enough')
    model.release()
    expect((await Promise.all([first, third])).length).toBe(2)
    expect(model.requests).toBe(2)
  })

  it('of many operations with one signal warns of no leak', async () => {
    const { disk, model } = await bench()
    const warned = vi.fn<() => void>()
    process.on('warning', warned)
    model.hold()
    const abort = new AbortController()
    const work = Array.from({ length: 100 }, (_, n) => disk.read(n * 512, 512, { signal: abort.signal }))
    const long = disk.read(0, 2 ** 21, { signal: abort.signal })
    await turns()
    abort.abort(new Error('enough'))
    for (const one of await Promise.allSettled([...work, long])) expect(one.status).toBe('rejected')
    await turns()
    process.off('warning', warned)
    expect(warned).not.toHaveBeenCalled()
    model.release()
    await turns()
  })
})

describe('many callers', () => {
  it('do not wait behind a queue that stands still', async () => {
    const { disk } = await bench({ profile: hostile({ kind: 'never-complete', queue: 0 }), model: { queues: 2 } })
    const abort = new AbortController()
    const stuck = [disk.read(0, 512, { signal: abort.signal }), disk.read(0, 512, { signal: abort.signal })]
    await Promise.race(stuck)
    for (let n = 0; n < 10; n++) await disk.read(0, 512)
    abort.abort(new Error('enough'))
    expect((await Promise.allSettled(stuck)).filter(({ status }) => status === 'rejected').length).toBe(1)
  })

  it('are served in turn: a large read does not wait for all the small ones that come after it', async () => {
    const { disk, model } = await bench({
      options: { maxInFlight: 64, stagingMemory: 65536 },
      model: { capacity: 65536 },
    })
    model.hold()
    const done: string[] = []
    const small = (name: string): Promise<unknown> => disk.read(0, 512).then(() => done.push(name))
    // Four buffers: three are taken, and one is not enough for the large one.
    const before = [small('a'), small('b'), small('c')]
    const large = disk.read(0, 32768).then(() => done.push('large'))
    const after = Array.from({ length: 20 }, (_, n) => small(`after ${n}`))
    await turns()
    expect(model.held).toBe(3)
    expect(disk.stats().waiting).toBe(21)
    model.release()
    await Promise.all([...before, large, ...after])
    expect(done.slice(0, 4)).toEqual(['a', 'b', 'c', 'large'])
  })

  it('go on at once when one in front of them gives up', async () => {
    const { disk, model } = await bench({ options: { stagingMemory: 65536 } })
    model.hold()
    const taken = [disk.read(0, 16384), disk.read(0, 16384), disk.read(0, 16384)]
    const abort = new AbortController()
    const large = disk.read(0, 32768, { signal: abort.signal })
    const small = disk.read(0, 512)
    await turns()
    expect(model.held).toBe(3)
    abort.abort(new Error('enough'))
    await expect(large).rejects.toThrow('enough')
    await turns()
    expect(model.held).toBe(4)
    model.release()
    await Promise.all([...taken, small])
  })

  it('a large transfer leaves room for small ones', async () => {
    const { disk } = await bench({ model: { capacity: 65536 }, on: { execution: 'deferred' } })
    const done: string[] = []
    const large = disk.read(0, 32 * 2 ** 20).then(() => done.push('large'))
    const small = disk.read(0, 512).then(() => done.push('small'))
    await Promise.all([large, small])
    expect(done).toEqual(['small', 'large'])
  })
})
