import {
  type ModelFunctionOptions,
  type ModelPciFunction,
  modelFunction,
  NetModel,
  type NetModelOptions,
  sloppy,
  strict,
  toWire,
  vboxModel,
} from '@virtio-ts/device-models'
import { NetDriver, NetHeaderFields, type NetHeaderLength, type NetOptions } from '@virtio-ts/driver-net'
import { heapDma } from '@virtio-ts/memory/heap'
import { type AttachOptions, VirtioPciDriver } from '@virtio-ts/transport-pci'
import type { NetBench } from './net-bench.ts'
import { netSuite } from './net-suite.ts'

async function openOn(
  fn: ModelPciFunction<NetModel>,
  options: NetOptions = {},
  attach: AttachOptions = {},
): Promise<NetBench> {
  const { model } = fn
  const driver = await NetDriver.open(await VirtioPciDriver.attach(fn, attach), options)
  let sent: Uint8Array[] = []
  model.onFrame((frame, header) => sent.push(...(toWire(frame, header) ?? [])))
  return {
    driver,
    deliver: (frame, header = new NetHeaderFields()) => void model.deliver(frame, { ...header }),
    sent() {
      const taken = sent
      sent = []
      return taken
    },
    setLink: (up) => model.setLink(up),
    announce: () => void model.announce(),
    announcePending: () => model.announcePending,
    violations: () => fn.violations,
    allocatedBytes: () => fn.dma.stats.allocatedBytes,
    dispose: () => fn.close(),
  }
}

interface Case {
  readonly name: string
  readonly headerLength: NetHeaderLength
  readonly function?: ModelFunctionOptions
  readonly model?: NetModelOptions
  readonly attach?: AttachOptions
  readonly options?: NetOptions
}

const bare = { INDIRECT_DESC: false, EVENT_IDX: false }
const plain = { features: { MRG_RXBUF: false } }

const cases: readonly Case[] = [
  { name: 'modern', headerLength: 12 },
  { name: 'modern, deferred', headerLength: 12, function: { execution: 'deferred' } },
  { name: 'modern, INTx', headerLength: 12, function: { msix: false } },
  { name: 'modern, one vector', headerLength: 12, function: { msix: 1 } },
  { name: 'modern, without ring features', headerLength: 12, function: { ringFeatures: bare } },
  { name: 'modern, without MRG_RXBUF', headerLength: 12, model: plain },
  { name: 'modern, several pairs', headerLength: 12, model: { queuePairs: 3, features: { MQ: true } } },
  {
    name: 'packed, strict, more pairs than used, spread by hash',
    headerLength: 12,
    function: { profile: strict(), ringFeatures: { RING_PACKED: true } },
    model: { queuePairs: 8, features: { MQ: true, RSS: true } },
    options: { rss: true },
  },
  {
    name: 'modern, with hashes, deferred',
    headerLength: 20,
    function: { execution: 'deferred' },
    model: { queuePairs: 2, features: { MQ: true, HASH_REPORT: true } },
    options: { hashReport: true },
  },
  {
    name: 'modern, with hashes, without MRG_RXBUF',
    headerLength: 20,
    model: { features: { HASH_REPORT: true, MRG_RXBUF: false } },
    options: { hashReport: true },
  },
  {
    name: 'modern, without EVENT_IDX',
    headerLength: 12,
    function: { ringFeatures: { EVENT_IDX: false } },
    model: plain,
  },
  { name: 'modern, strict', headerLength: 12, function: { profile: strict() } },
  { name: 'packed', headerLength: 12, function: { ringFeatures: { RING_PACKED: true } } },
  {
    name: 'packed, deferred',
    headerLength: 12,
    function: { execution: 'deferred', ringFeatures: { RING_PACKED: true } },
  },
  {
    name: 'packed, without other ring features',
    headerLength: 12,
    function: { ringFeatures: { ...bare, RING_PACKED: true } },
  },
  {
    name: 'packed, strict, without MRG_RXBUF',
    headerLength: 12,
    function: { profile: strict(), ringFeatures: { RING_PACKED: true } },
    model: plain,
  },
  { name: 'transitional, by its modern interface', headerLength: 12, function: { interface: 'transitional' } },
  {
    name: 'transitional, by its legacy interface',
    headerLength: 12,
    function: { interface: 'transitional' },
    attach: { interface: 'legacy' },
  },
  { name: 'legacy', headerLength: 12, function: { interface: 'legacy' } },
  { name: 'legacy, without MRG_RXBUF', headerLength: 10, function: { interface: 'legacy' }, model: plain },
  {
    name: 'legacy, without ANY_LAYOUT',
    headerLength: 12,
    function: { interface: 'legacy', ringFeatures: { ANY_LAYOUT: false } },
  },
  {
    name: 'legacy, without anything',
    headerLength: 10,
    function: { interface: 'legacy', ringFeatures: { ...bare, ANY_LAYOUT: false } },
    model: plain,
  },
  { name: 'legacy, INTx', headerLength: 12, function: { interface: 'legacy', msix: false } },
]

for (const { name, headerLength, function: on = {}, model = {}, attach, options: wanted } of cases) {
  netSuite(`model, ${name}`, {
    headerLength,
    headers: true,
    everyFeature: name === 'modern' || name === 'packed' || name === 'legacy, without anything',
    open: (options) =>
      openOn(
        modelFunction(new NetModel(model), { ...on, dma: heapDma(64 * 1024 * 1024) }),
        // Nobody can have what they mask.
        { ...(options?.withoutFeatures ? {} : wanted), ...options },
        attach,
      ),
  })
}

netSuite('model, sloppy legacy', {
  headers: true,
  open: (options) => openOn(modelFunction(new NetModel(), { interface: 'legacy', profile: sloppy() }), options),
})

netSuite('model, sloppy modern', {
  headers: true,
  open: (options) =>
    openOn(modelFunction(new NetModel(plain), { profile: sloppy() }), { trust: 'tolerant', ...options }),
})

netSuite('model, sloppy packed', {
  headers: true,
  open: (options) =>
    openOn(modelFunction(new NetModel(plain), { profile: sloppy(), ringFeatures: { RING_PACKED: true } }), {
      trust: 'tolerant',
      ...options,
    }),
})

for (const version of ['4.3', '7'] as const) {
  netSuite(`model, VirtualBox ${version}`, {
    headers: true,
    everyFeature: version === '4.3',
    open: (options) => openOn(vboxModel(version, { dma: heapDma(64 * 1024 * 1024) }), options),
  })
}

netSuite('model, VirtualBox 7 by its legacy interface', {
  headers: true,
  open: (options) => openOn(vboxModel('7', { dma: heapDma(64 * 1024 * 1024) }), options, { interface: 'legacy' }),
})
