import { type DeviceMoments, type DeviceProfile, hostile, strict } from '@virtio-ts/device-models'
import { BlockConfig, BlockRequest, DeviceStatus } from '@virtio-ts/spec'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type BlockBench, type BlockBenchOptions, openBlockBench, pattern, turns } from '../test-support/block-bench.ts'
import type { BlockEvents } from './index.ts'

const benches: BlockBench[] = []

async function bench(options: BlockBenchOptions = {}): Promise<BlockBench> {
  const opened = await openBlockBench({ profile: strict(), ...options })
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

/** Notes the requests that come. */
function noting(requests: { readonly type: number; readonly sector: number }[]): DeviceProfile {
  return {
    name: 'noting',
    on(point, moment) {
      if (point !== 'block-request') return
      const { type, sector } = moment as DeviceMoments['block-request']
      requests.push({ type, sector })
    },
  }
}

describe('ranges', () => {
  it('§ 5.2.6.1 are cut by the limits the device states, in sectors, and put together in requests', async () => {
    const { disk, model } = await bench({
      model: { capacity: 65536, blockSize: 1024, secureErase: { maxSectors: 11, maxSegments: 4, alignment: 8 } },
    })
    await disk.write(0, new Uint8Array(200 * 1024).fill(1))
    const before = model.requests
    await disk.secureErase(3 * 1024, 100 * 1024)
    expect(model.discarded).toBe(200)
    // 200 sectors from 6 on: 10, then 8 at a time, four to a request.
    expect(model.requests - before).toBe(7)
    const found = await disk.read(0, 200 * 1024)
    expect(found.subarray(0, 3072).every((byte) => byte === 1)).toBe(true)
    expect(found.subarray(3072, 103 * 1024).every((byte) => byte === 0)).toBe(true)
    expect(found.subarray(103 * 1024).every((byte) => byte === 1)).toBe(true)
  })

  it('§ 5.2.6.1 give storage back only where they may, without the unmap bit but for zeroes', async () => {
    const { disk, model } = await bench()
    await disk.write(0, new Uint8Array(2 ** 20).fill(1))
    const { allocated } = model.store
    await disk.writeZeroes(0, 2 ** 19)
    expect(model.store.allocated).toBe(allocated)
    await disk.writeZeroes(0, 2 ** 19, { unmap: true })
    expect(model.store.allocated).toBe(allocated / 2)
    await disk.discard(2 ** 19, 2 ** 19)
    expect(model.store.allocated).toBe(0)
  })

  it('§ 5.2.6.1 fail as a whole when one of their requests does', async () => {
    const profile = hostile({ kind: 'io-error', after: 3 })
    const { disk, model } = await bench({ profile, model: { discard: { maxSectors: 8, maxSegments: 2 } } })
    await expect(disk.discard(0, 2 ** 20)).rejects.toMatchObject({ code: 'block.io-error' })
    // Those on their way ended; no new ones were begun: there would have been 128.
    expect(model.requests).toBeLessThan(32)
    expect(disk.stats()).toMatchObject({ held: 0, failed: 1 })
  })

  it('are as long as one likes where the device states a limit of 0', async () => {
    const { disk, model } = await bench({ model: { discard: { maxSectors: 0, maxSegments: 0, alignment: 0 } } })
    await disk.discard(0, disk.capacity)
    expect([model.requests, model.discarded * 512]).toEqual([1, disk.capacity])
  })

  it('that the device was not asked for are refused here', async () => {
    const { disk, model } = await bench({ model: { features: { DISCARD: false, WRITE_ZEROES: false } } })
    for (const refused of [disk.discard(0, 512), disk.writeZeroes(0, 512), disk.secureErase(0, 512), disk.lifetime()]) {
      await expect(refused).rejects.toMatchObject({ code: 'block.unsupported' })
    }
    expect(model.requests).toBe(0)
  })
})

describe('a read-only disk', () => {
  it('is read, and nothing else', async () => {
    const { disk, model } = await bench({ model: { readOnly: true, secureErase: {} } })
    expect(await disk.read(0, 512)).toEqual(new Uint8Array(512))
    const region = disk.allocate(512)
    for (const change of [
      disk.write(0, pattern(512)),
      disk.writeFrom(0, region),
      disk.discard(0, 512),
      disk.writeZeroes(0, 512),
      disk.secureErase(0, 512),
    ]) {
      await expect(change).rejects.toMatchObject({ code: 'block.read-only' })
    }
    await disk.readInto(0, region)
    await disk.flush()
    expect(model.requests).toBe(3)
  })
})

describe('flush and cache', () => {
  it('§ 5.2.6.1 flushes with sector 0 and no data', async () => {
    const requests: { readonly type: number; readonly sector: number }[] = []
    const { disk, model } = await bench({ profile: noting(requests) })
    await disk.flush()
    expect(requests).toEqual([{ type: BlockRequest.T_FLUSH, sector: 0 }])
    expect([model.flushes, disk.stats().flushes, disk.cache]).toEqual([1, 1, 'writeback'])
  })

  it('flushes nothing where the device keeps nothing back', async () => {
    const { disk, model } = await bench({ model: { features: { FLUSH: false, CONFIG_WCE: false } } })
    await disk.flush()
    expect([model.requests, disk.cache]).toEqual([0, 'writethrough'])
  })

  it('§ 5.2.5.1 takes a device that flushes and says nothing more for one with a writeback cache', async () => {
    const { disk } = await bench({ model: { features: { CONFIG_WCE: false } } })
    expect(disk.cache).toBe('writeback')
    await expect(disk.setWriteCache('writethrough')).rejects.toMatchObject({ code: 'block.unsupported' })
  })

  it('§ 5.2.5.1 does not read the cache mode before FEATURES_OK', async () => {
    const early = vi.fn<() => void>()
    const profile: DeviceProfile = {
      name: 'watching',
      on(point, moment, device) {
        if (point !== 'config-read') return
        const { offset } = moment as DeviceMoments['config-read']
        if (offset === BlockConfig.WRITEBACK && ((device?.status ?? 0) & DeviceStatus.FEATURES_OK) === 0) early()
      },
    }
    const { disk } = await bench({ profile, model: { writeback: false } })
    expect(disk.cache).toBe('writethrough')
    expect(early).not.toHaveBeenCalled()
  })

  it('§ 5.2.6.1 flushes when it switches to writethrough: the switch itself commits nothing', async () => {
    const { disk, model } = await bench()
    await disk.setWriteCache('writethrough')
    expect([model.writeback, model.flushes, disk.cache]).toEqual([false, 1, 'writethrough'])
    await disk.setWriteCache('writeback')
    expect([model.writeback, model.flushes, disk.cache]).toEqual([true, 1, 'writeback'])
  })

  it('says so when the device keeps its cache', async () => {
    const { disk } = await bench({
      profile: {
        name: 'stubborn',
        on(point, moment) {
          if (point === 'config-read' && (moment as DeviceMoments['config-read']).offset === BlockConfig.WRITEBACK)
            (moment as DeviceMoments['config-read']).value = 1
        },
      },
    })
    await expect(disk.setWriteCache('writethrough')).rejects.toMatchObject({ code: 'block.bad-answer' })
    expect(disk.cache).toBe('writeback')
  })
})

describe('what a device says of itself', () => {
  it.each([
    ['a name', 'a name'],
    ['exactly twenty chars', 'exactly twenty chars'],
    ['', ''],
    ['\u001b[31mred', '?[31mred'],
    ['\u00fcber', '??ber'],
  ])('the name %s', async (id, told) => {
    const { disk } = await bench({ model: { id } })
    expect(await disk.deviceId()).toBe(told)
  })

  it('its lifetime', async () => {
    const { disk } = await bench({ model: { lifetime: { preEndOfLife: 2, typeA: 3, typeB: 11 } } })
    expect(await disk.lifetime()).toEqual({ preEndOfLife: 'warning', typeA: 3, typeB: 11 })
  })

  it.each([
    [4, 0, 0],
    [0, 12, 0],
    [0, 0, 0xffff],
  ])('a lifetime of reserved values: %i %i %i', async (preEndOfLife, typeA, typeB) => {
    const { disk } = await bench({ model: { lifetime: { preEndOfLife, typeA, typeB } } })
    await expect(disk.lifetime()).rejects.toMatchObject({ code: 'block.bad-answer' })
    expect(disk.stats().held).toBe(0)
  })

  it('too little of it', async () => {
    const { disk } = await bench({ profile: hostile({ kind: 'answer-short', value: 10 }) })
    await expect(disk.deviceId()).rejects.toMatchObject({ code: 'block.short-answer' })
  })

  it('its topology, in bytes', async () => {
    const { disk } = await bench({
      model: {
        blockSize: 4096,
        topology: { physicalBlockExp: 2, alignmentOffset: 1, minIoSize: 3, optIoSize: 100 },
      },
    })
    expect(disk.limits.topology).toEqual({
      physicalBlockSize: 16384,
      alignmentOffset: 4096,
      minIoSize: 12288,
      optIoSize: 409600,
    })
  })
})

describe('a configuration that cannot be', () => {
  it.each([
    ['BLK_SIZE', { blockSize: 0 }],
    ['BLK_SIZE', { blockSize: 3 }],
    ['BLK_SIZE', { blockSize: 256 }],
    ['BLK_SIZE', { blockSize: 2 ** 31 }],
    ['SIZE_MAX', { sizeMax: 0 }],
    ['SIZE_MAX', { sizeMax: 511 }],
    ['SEG_MAX', { segMax: 0 }],
    ['SECURE_ERASE', { secureErase: { maxSectors: 0 } }],
    ['SECURE_ERASE', { secureErase: { maxSegments: 0 } }],
  ] as const)('C13 does without %s for %j', async (feature, model) => {
    const { disk } = await bench({ model })
    expect(disk.features.has(feature)).toBe(false)
    await disk.write(512, pattern(8192))
    expect(await disk.read(512, 8192)).toEqual(pattern(8192))
  })

  it.each([
    ['blk_size', BlockConfig.BLK_SIZE],
    ['size_max', BlockConfig.SIZE_MAX],
    ['seg_max', BlockConfig.SEG_MAX],
  ])('C14 that was another before, in %s, ends the opening', async (_name, at) => {
    const profile: DeviceProfile = {
      name: 'changing',
      on(point, moment, device) {
        const live = device?.driverOk ?? false
        if (point === 'config-read' && (moment as DeviceMoments['config-read']).offset === at && live)
          (moment as DeviceMoments['config-read']).value = 0
      },
    }
    await expect(openBlockBench({ profile })).rejects.toMatchObject({ code: 'block.config-invalid' })
  })

  it('of more sectors than there are numbers for is as large as can be', async () => {
    const { disk } = await bench({
      profile: {
        name: 'huge',
        on(point, moment) {
          const read = moment as DeviceMoments['config-read']
          if (point === 'config-read' && read.offset < 8) read.value = 0xffffffff
        },
      },
    })
    expect(Number.isSafeInteger(disk.capacity)).toBe(true)
    await expect(disk.read(disk.capacity, 512)).rejects.toMatchObject({ code: 'block.out-of-range' })
    await expect(disk.read(2 ** 52, 512)).rejects.toMatchObject({ code: 'block.io-error' })
    benches.pop()
    await disk.close()
  })

  it('§ 5.2.6.1 is read again when it changes, and the last good one stands when it cannot be', async () => {
    const { disk, model } = await bench({ profile: hostile([]) })
    const told = vi.fn<BlockEvents['resize']>()
    disk.on('resize', told)
    model.resize(disk.capacity / 512)
    await turns()
    expect(told).not.toHaveBeenCalled()
  })
})

describe('options', () => {
  it.each([
    { maxQueues: 0 },
    { maxInFlight: 0 },
    { maxInFlight: 1025 },
    { stagingMemory: 100 },
    { watchdog: -1 },
    { watchdog: 0.5 },
  ])('%j are a RangeError', async (options) => {
    await expect(openBlockBench({ options })).rejects.toBeInstanceOf(RangeError)
  })

  it('queues too small for a request are said to be', async () => {
    await expect(
      openBlockBench({ options: { queueSize: 2, withoutFeatures: ['INDIRECT_DESC'] } }),
    ).rejects.toMatchObject({ code: 'block.queue-size' })
  })
})
