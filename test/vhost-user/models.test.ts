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
import { DeviceType } from '@virtio-ts/spec'
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
    violations: () => backEnd.violations,
    allocatedBytes: () => transport.dma.stats.allocatedBytes,
    async dispose() {
      await place.close()
      await backEnd.close()
    },
  }
}

/** A back-end that moves packets and no more, and filters nothing: as those there are. */
const packetsOnly = {
  model: { promiscuous: true },
  backEnd: { protocolFeatures: { CONFIG: false, BACKEND_REQ: false } },
} satisfies Partial<Case>
const packed = { RING_PACKED: true }

const cases: readonly Case[] = [
  { name: 'packets only', ...packetsOnly, everyFeature: true },
  { name: 'packets only, packed', ...packetsOnly, backEnd: { ...packetsOnly.backEnd, ringFeatures: packed } },
]

for (const one of cases) {
  netSuite(`vhost-user model, ${one.name}`, {
    headerLength: 12,
    headers: true,
    everyFeature: one.everyFeature ?? false,
    open: (options) => openNet(one, options),
  })
}
