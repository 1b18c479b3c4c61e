import {
  BlockModel,
  type BlockModelOptions,
  type ModelFunctionOptions,
  modelFunction,
  sloppy,
  strict,
} from '@virtio-ts/device-models'
import { BlockDriver, type BlockOptions, blockSpec } from '@virtio-ts/driver-block'
import { heapDma } from '@virtio-ts/memory/heap'
import { type AttachOptions, VirtioPciDriver } from '@virtio-ts/transport-pci'
import { expect } from 'vitest'
import { type BlockBench, blockSuite } from './block-suite.ts'
import { driverSuite } from './driver-suite.ts'

interface Case {
  readonly name: string
  readonly function?: ModelFunctionOptions
  readonly model?: BlockModelOptions
  readonly attach?: AttachOptions
  readonly options?: BlockOptions
}

async function openOn(
  { function: on, model = {}, attach, options }: Case,
  more: BlockOptions = {},
): Promise<BlockBench> {
  const disk = new BlockModel(model)
  const fn = modelFunction(disk, { ...on, dma: heapDma(32 * 1024 * 1024) })
  const driver = await BlockDriver.open(await VirtioPciDriver.attach(fn, attach), { ...options, ...more })
  return {
    disk: driver,
    stored: (offset, length) => disk.store.read(offset / 512, length),
    resize: (capacity) => disk.resize(capacity / 512),
    violations: () => fn.violations,
    allocatedBytes: () => fn.dma.stats.allocatedBytes,
    dispose: () => fn.close(),
  }
}

const bare = { INDIRECT_DESC: false, EVENT_IDX: false }

const cases: readonly Case[] = [
  { name: 'modern' },
  { name: 'modern, deferred and in reverse', function: { execution: 'deferred' }, model: { order: 'reversed' } },
  { name: 'modern, INTx', function: { msix: false } },
  { name: 'modern, without ring features, small queues', function: { ringFeatures: bare }, model: { queueSize: 8 } },
  { name: 'modern, four queues', model: { queues: 4 } },
  { name: 'modern, four queues, one used', model: { queues: 4 }, options: { maxQueues: 1 } },
  {
    name: 'modern, strict, with segments of 512 bytes',
    function: { profile: strict() },
    model: { sizeMax: 512, segMax: 3 },
  },
  { name: 'modern, one segment', model: { segMax: 1 } },
  { name: 'modern, odd limits', model: { sizeMax: 1000, segMax: 5 } },
  {
    name: 'modern, small ranges',
    model: {
      discard: { maxSectors: 7, maxSegments: 3, alignment: 4 },
      writeZeroes: { maxSectors: 5, maxSegments: 20 },
    },
  },
  {
    name: 'modern, limits of 0',
    model: { discard: { maxSectors: 0, maxSegments: 0, alignment: 0 }, writeZeroes: { maxSectors: 0, maxSegments: 0 } },
  },
  { name: 'modern, blocks of 4096 bytes', model: { blockSize: 4096, discard: { maxSectors: 20, alignment: 3 } } },
  { name: 'packed', function: { ringFeatures: { RING_PACKED: true } } },
  { name: 'packed, bare', function: { ringFeatures: { ...bare, RING_PACKED: true } }, model: { queueSize: 7 } },
  { name: 'legacy', function: { interface: 'legacy' } },
  {
    name: 'legacy, without ANY_LAYOUT and everything',
    function: { interface: 'legacy', ringFeatures: { ...bare, ANY_LAYOUT: false } },
    model: { features: { SEG_MAX: false, SIZE_MAX: false, FLUSH: false, CONFIG_WCE: false } },
  },
  {
    name: 'transitional, by its legacy interface',
    function: { interface: 'transitional' },
    attach: { interface: 'legacy' },
  },
  { name: 'sloppy legacy', function: { interface: 'legacy', profile: sloppy() } },
  { name: 'sloppy modern', function: { profile: sloppy() }, options: { trust: 'tolerant' } },
  {
    name: 'sloppy packed',
    function: { profile: sloppy(), ringFeatures: { RING_PACKED: true } },
    options: { trust: 'tolerant' },
  },
]

for (const one of cases) {
  blockSuite(`model, ${one.name}`, {
    blockSize: one.model?.blockSize ?? 512,
    id: 'virtio-ts',
    open: (options) => openOn(one, options),
  })
}

for (const one of cases.slice(0, 5).concat(cases.filter(({ name }) => name === 'packed' || name === 'legacy'))) {
  driverSuite(`block model, ${one.name}`, {
    spec: blockSpec,
    attach: async () => {
      const fn = modelFunction(new BlockModel(one.model), one.function)
      return {
        transport: await VirtioPciDriver.attach(fn, one.attach),
        violations: () => fn.violations,
        dispose: () => fn.close(),
      }
    },
    open: (transport, options) => BlockDriver.open(transport, options),
    use: async (disk) => {
      await disk.write(512, new Uint8Array(512).fill(7))
      expect(await disk.read(512, 512)).toEqual(new Uint8Array(512).fill(7))
      await disk.flush()
    },
  })
}
