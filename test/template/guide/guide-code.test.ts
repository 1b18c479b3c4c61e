import { initialize } from '@virtio-ts/core'
import { hostile, modelFunction, RngModel } from '@virtio-ts/device-models'
import { RngDriver, rngSpec } from '@virtio-ts/driver-rng'
import { QemuBench } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { expect, it } from 'vitest'
import { requirement } from '../../requirements.ts'
import { BlockConfig, blockSpec } from './block-spec.ts'
import { streamBuffers } from './stream-buffers.ts'

it('the buffers of a device stream through a queue in the packet view', async () => {
  let next = 0
  const source = (into: Uint8Array): void => void into.fill(++next & 0xff)
  const fn = modelFunction(new RngModel({ source, bytesPerBuffer: 5 }), { execution: 'deferred' })
  const device = await initialize(await VirtioPciDriver.attach(fn), rngSpec)
  const shown: number[][] = []
  await new Promise<void>((resolve) =>
    streamBuffers(device, 16, (bytes) => {
      if (shown.push([...bytes]) === 100) resolve()
    }),
  )
  await device.close()
  expect(shown.slice(0, 100)).toEqual(Array.from({ length: 100 }, (_, n) => new Array(5).fill(n + 1)))
  expect(fn.violations).toEqual([])
  expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
  await fn.close()
})

it.each([
  ['id-range', 'ring.id-range'],
  ['length-over', 'ring.length'],
  ['needs-reset', 'device.needs-reset'],
] as const)('a device that does %s ends in %s', async (kind, code) => {
  const fn = modelFunction(new RngModel(), { profile: hostile({ kind }) })
  const rng = await RngDriver.open(await VirtioPciDriver.attach(fn))
  await expect(rng.randomFill(new Uint8Array(8))).rejects.toMatchObject({ code })
  await rng.close()
  expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
  await fn.close()
})

requirement('qemu')("a block device of QEMU's", () => {
  it.each([
    [1, 1],
    [3, 3],
    [8, 4],
  ])('with %i queues gets %i', async (offered, wanted) => {
    const bench = await QemuBench.start({
      devices: [`virtio-blk-pci,drive=d0,num-queues=${offered},logical_block_size=4096,physical_block_size=4096`],
      drives: ['driver=null-co,size=1M,if=none,id=d0'],
    })
    try {
      const device = await initialize(await VirtioPciDriver.attach(bench.function(0)), blockSpec)
      expect(device.hasQueue(`requestq${wanted}`)).toBe(true)
      expect(device.hasQueue(`requestq${wanted + 1}`)).toBe(false)
      expect(device.features.has('BLK_SIZE')).toBe(true)
      expect(await device.config.read64(BlockConfig.CAPACITY)).toBe(2048n)
      expect(await device.config.read32(BlockConfig.BLK_SIZE)).toBe(4096)
      await device.close()
    } finally {
      await bench.close()
    }
  })
})
