import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type NetBench, netSuite, transportSuite } from '@virtio-ts/conformance'
import {
  NetModel,
  type NetModelOptions,
  RngModel,
  strict,
  toWire,
  VhostUserBackEnd,
  type VhostUserOptions as BackEndOptions,
} from '@virtio-ts/device-models'
import { NetDriver, NetHeaderFields, type NetOptions } from '@virtio-ts/driver-net'
import { RngDriver } from '@virtio-ts/driver-rng'
import { DeviceType, type VhostUserProtocolFeatureName } from '@virtio-ts/spec'
import { VhostUserEndpoint, type VhostUserOptions } from '@virtio-ts/transport-vhost-user'
import { afterAll, describe, expect, it } from 'vitest'

const folder = mkdtempSync(join(tmpdir(), 'virtio-ts-models-'))
let served = 0
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Case {
  readonly name: string
  readonly backEnd?: BackEndOptions
  readonly model?: NetModelOptions
  readonly endpoint?: Partial<VhostUserOptions>
  readonly everyFeature?: boolean
}

async function openNet({ backEnd: how, model: options, endpoint }: Case, netOptions?: NetOptions): Promise<NetBench> {
  const path = join(folder, `${served++}`)
  const model = new NetModel(options)
  const backEnd = VhostUserBackEnd.serve(model, { path, ...how })
  const place = new VhostUserEndpoint({ path, deviceType: DeviceType.NETWORK, ...endpoint })
  const transport = await place.connect()
  const driver = await NetDriver.open(transport, netOptions)
  // The back-end's rings start with the first notification, which its event loop, this one, has yet to see.
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
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
    violations: () =>
      backEnd.violations.filter(({ section, text }) => how?.queueCount !== undefined || !isModelsError(section, text)),
    allocatedBytes: () => transport.dma.stats.allocatedBytes,
    async dispose() {
      await place.close()
      backEnd.close()
    },
  }
}

/**
 * The model takes the virtio side of the front-end's word: it sees no control queue, which is here, and does not know that rings switched on are
 * pairs in use.
 */
function isModelsError(section: string, text: string): boolean {
  return text === 'accepted MQ without CTRL_VQ' || section === '5.1.6.5.6.1'
}

/** A back-end that moves packets and no more, and filters nothing: as those there are. */
const packetsOnly = {
  model: { promiscuous: true },
  backEnd: { protocolFeatures: { CONFIG: false, BACKEND_REQ: false } },
} satisfies Partial<Case>
const packed = { RING_PACKED: true }
const bare = { INDIRECT_DESC: false, EVENT_IDX: false }
const without = (...names: readonly VhostUserProtocolFeatureName[]): BackEndOptions => ({
  protocolFeatures: Object.fromEntries(['CONFIG', 'BACKEND_REQ', ...names].map((name) => [name, false])),
})

const cases: readonly Case[] = [
  { name: 'packets only', ...packetsOnly, everyFeature: true },
  { name: 'packets only, packed', ...packetsOnly, backEnd: { ...packetsOnly.backEnd, ringFeatures: packed } },
  { name: 'packets only, no ring features', ...packetsOnly, backEnd: { ...packetsOnly.backEnd, ringFeatures: bare } },
  {
    name: 'packets only, packed, no ring features',
    ...packetsOnly,
    backEnd: { ...packetsOnly.backEnd, ringFeatures: { ...packed, ...bare } },
  },
  { name: 'packets only, nothing confirmed', ...packetsOnly, backEnd: without('REPLY_ACK') },
  {
    name: 'packets only, the oldest protocol',
    ...packetsOnly,
    backEnd: { protocolFeatures: false },
  },
  {
    name: 'packets only, a table of memory',
    ...packetsOnly,
    backEnd: without('CONFIGURE_MEM_SLOTS', 'STATUS', 'RESET_DEVICE', 'INFLIGHT_SHMFD'),
    endpoint: { memory: { length: 64 << 20, regions: 4 } },
  },
  {
    name: 'packets only, several pairs',
    model: { ...packetsOnly.model, queuePairs: 3, features: { MQ: true } },
    backEnd: packetsOnly.backEnd,
  },
  {
    name: 'packets only, several pairs, packed',
    model: { ...packetsOnly.model, queuePairs: 4, features: { MQ: true } },
    backEnd: { ...packetsOnly.backEnd, ringFeatures: packed },
  },
  {
    name: 'its own control queue and several pairs',
    model: { queuePairs: 3, features: { MQ: true } },
    backEnd: { queueCount: 7 },
  },
  { name: 'its own configuration', model: { promiscuous: true } },
  { name: 'its own configuration and control queue', backEnd: { queueCount: 3 } },
  {
    name: 'its own control queue, packed, strict, many regions',
    backEnd: { queueCount: 3, ringFeatures: packed, profile: strict() },
    endpoint: { memory: { length: 64 << 20, regions: 12 } },
  },
]

for (const one of cases) {
  netSuite(`vhost-user model, ${one.name}`, {
    headerLength: 12,
    headers: true,
    everyFeature: one.everyFeature ?? false,
    open: (options) => openNet(one, options),
  })
}

describe('a device at a vhost-user back-end', () => {
  it('is driven like any other', async () => {
    const path = join(folder, `${served++}`)
    const backEnd = VhostUserBackEnd.serve(new RngModel(), { path })
    await using endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.ENTROPY })
    {
      await using rng = await RngDriver.open(await endpoint.connect())
      expect((await rng.randomFill(new Uint8Array(64))).some((byte) => byte !== 0)).toBe(true)
    }
    expect(backEnd.violations).toEqual([])
    backEnd.close()
  })
})

for (const ringFeatures of [{}, packed]) {
  transportSuite(`vhost-user model, ${'RING_PACKED' in ringFeatures ? 'packed' : 'split'}`, {
    legacy: false,
    interrupts: 'eventfd',
    open: async () => {
      const path = join(folder, `${served++}`)
      const backEnd = VhostUserBackEnd.serve(new NetModel(), { path, ringFeatures })
      const endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.NETWORK })
      return {
        transport: await endpoint.connect(),
        async dispose() {
          await endpoint.close()
          backEnd.close()
        },
      }
    },
  })
}
