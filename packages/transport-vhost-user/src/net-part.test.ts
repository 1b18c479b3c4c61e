import { type DriverSpec, initialize, type VirtioDevice } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'
import { DeviceType, VhostUserRequest as Request, type VirtioError } from '@virtio-ts/spec'
import { afterEach, describe, expect, it } from 'vitest'
import {
  PROTOCOL_FEATURES_BIT,
  protocolFeatures,
  RawBackEnd,
  type RawBackEndOptions,
  u64,
} from './raw-back-end.fixture.ts'
import { VhostUserEndpoint, type VhostUserOptions } from './vhost-user-endpoint.ts'
import type { VhostUserTransport } from './vhost-user-transport.ts'

const VERSION_1 = 1n << 32n
const RING_FEATURES = (1n << 28n) | (1n << 29n)
const PACKED = 1n << 34n
const MQ = 1n << 22n
const netFeatures = { MTU: 3, MAC: 5, STATUS: 16, CTRL_VQ: 17, CTRL_RX: 18, MQ: 22, CTRL_MAC_ADDR: 23 }
type Feature = keyof typeof netFeatures
type Queue = `data${number}` | 'controlq'
type Net = VirtioDevice<Feature, Queue>

/** A network driver that uses so many pairs of queues, and the control queue where there is one. */
function netSpec(pairs: number): DriverSpec<Feature, Queue> {
  return {
    name: 'net',
    deviceType: DeviceType.NETWORK,
    features: netFeatures,
    queues: async (features, config) => {
      const most = features.has('MQ') ? await config.read16(8) : 1
      const data = Array.from({ length: 2 * Math.min(pairs, most) }, (_, index) => ({
        name: `data${index}` as const,
        index,
        size: 16,
      }))
      return features.has('CTRL_VQ') ? [...data, { name: 'controlq', index: 2 * most, size: 16 }] : data
    },
  }
}

const open: { close(): unknown }[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close()
})

interface SetUp extends RawBackEndOptions {
  readonly pairs?: number
  readonly endpoint?: Partial<VhostUserOptions>
  readonly withoutFeatures?: readonly string[]
  readonly polled?: boolean
}

async function setUp(options: SetUp = {}): Promise<{ backEnd: RawBackEnd; transport: VhostUserTransport; net: Net }> {
  const { pairs = 1, endpoint: endpointOptions, withoutFeatures = [], polled, ...backEndOptions } = options
  const backEnd = new RawBackEnd({ features: PROTOCOL_FEATURES_BIT | VERSION_1 | RING_FEATURES, ...backEndOptions })
  const endpoint = new VhostUserEndpoint({ path: backEnd.path, deviceType: DeviceType.NETWORK, ...endpointOptions })
  open.push(backEnd, endpoint)
  const transport = await endpoint.connect()
  const net = await initialize(transport, netSpec(pairs), { withoutFeatures, interrupts: polled ? 'none' : 'auto' })
  open.push(net)
  return { backEnd, transport, net }
}

/** Sends a command, each part in a descriptor of its own. @returns the acknowledgement */
async function command(net: Net, memory: DmaRegion, ...parts: readonly (readonly number[])[]): Promise<number> {
  let at = 0
  const readable = parts.map((part) => {
    memory.bytes.set(part, at)
    const buffer = { region: memory, offset: at, length: part.length }
    at += part.length
    return buffer
  })
  memory.bytes[1024] = 0xff
  const written = await net.requestQueue('controlq').request({
    readable: readable.filter(({ length }) => length > 0),
    writable: [{ region: memory, offset: 1024, length: 1 }],
  })
  expect(written).toBe(1)
  return memory.bytes[1024] as number
}

const configOf = async (transport: VhostUserTransport): Promise<Uint8Array> => {
  const bytes = new Uint8Array(transport.configLength)
  await transport.readConfig(0, bytes)
  return bytes
}

describe('a network device whose back-end only moves packets', () => {
  it('has address, link and control queue all the same, and hides what nobody serves', async () => {
    const all = (1n << 64n) - 1n
    const { backEnd, transport, net } = await setUp({ features: all & ~(1n << 34n) })
    const offered = await transport.deviceFeatures()
    for (const bit of [5n, 16n, 17n, 18n, 23n]) expect((offered >> bit) & 1n).toBe(1n)
    // Offloads by command, MTU, VLAN, extra modes, announcing, MQ of one pair, hashes, coalescing, standby, speed.
    for (const bit of [2n, 3n, 19n, 20n, 21n, 22n, 51n, 52n, 53n, 57n, 60n, 62n, 63n])
      expect((offered >> bit) & 1n).toBe(0n)
    expect(net.features.names).toEqual(expect.arrayContaining(['MAC', 'STATUS', 'CTRL_VQ', 'CTRL_RX', 'CTRL_MAC_ADDR']))
    const told = backEnd.peer.find(Request.SET_FEATURES)?.payload as Uint8Array
    const forwarded = new DataView(told.buffer).getBigUint64(0, true)
    for (const bit of [5n, 16n, 17n, 18n, 23n]) expect((forwarded >> bit) & 1n).toBe(0n)
    expect((await configOf(transport))[6]).toBe(1)
    expect(backEnd.peer.received.filter(({ request }) => request === Request.SET_VRING_NUM).length).toBe(2)
  })

  for (const ring of ['split', 'packed'] as const) {
    for (const withoutFeatures of [[], ['INDIRECT_DESC'], ['EVENT_IDX'], ['INDIRECT_DESC', 'EVENT_IDX']]) {
      for (const polled of [false, true]) {
        const how = `${ring}${withoutFeatures.map((name) => `, no ${name}`).join('')}${polled ? ', polled' : ''}`
        it(`obeys commands, often enough for the ring to go around: ${how}`, async () => {
          const features = PROTOCOL_FEATURES_BIT | VERSION_1 | RING_FEATURES | (ring === 'packed' ? PACKED : 0n)
          const { transport, net } = await setUp({ features, withoutFeatures, polled })
          const memory = net.allocate(2048)
          for (let i = 0; i < 50; i++) {
            expect(await command(net, memory, [1, 1], [2, 0, 0, 0, 0, i])).toBe(0)
            expect([...(await configOf(transport)).subarray(0, 6)]).toEqual([2, 0, 0, 0, 0, i])
          }
          // Several at a time, in one piece each.
          const queue = net.requestQueue('controlq')
          memory.bytes.set([0, 0, 1], 0)
          const requests = Array.from({ length: 30 }, (_, i) =>
            queue.request({
              readable: [{ region: memory, offset: 0, length: 3 }],
              writable: [{ region: memory, offset: 100 + i, length: 1 }],
            }),
          )
          memory.bytes.fill(0xff, 100, 130)
          await Promise.all(requests)
          expect([...memory.bytes.subarray(100, 130)]).toEqual(Array.from({ length: 30 }, () => 0))
        })
      }
    }
  }

  it('accepts what it can and refuses the rest', async () => {
    const { net } = await setUp()
    const memory = net.allocate(2048)
    const macs = (...bytes: readonly number[]): number[] => [
      bytes.length,
      0,
      0,
      0,
      ...bytes.flatMap((byte) => [2, 0, 0, 0, 0, byte]),
    ]
    const cases: readonly (readonly [number, ...(readonly number[])[]])[] = [
      [0, [0, 0], [1]],
      [0, [0, 5], [0]],
      [1, [0, 6], [0]],
      [1, [0, 0], [2]],
      [1, [0, 0], []],
      [1, [0, 0], [1, 1]],
      [0, [1, 0], macs(1, 2), macs()],
      [0, [1, 0], macs(), macs(1)],
      [1, [1, 0], macs(1)],
      [1, [1, 0], [9, 0, 0, 0], macs()],
      [1, [1, 0], [255, 255, 255, 255], macs()],
      [1, [1, 0], macs(1), macs(), [0]],
      [1, [1, 1], [1, 0, 0, 0, 0, 1]],
      [1, [1, 1], [2, 0, 0, 0, 0]],
      [1, [1, 2], [2, 0, 0, 0, 0, 1]],
      [0, [2, 0], [7, 0]],
      [0, [2, 1], [7, 0]],
      [1, [2, 0], [0, 16]],
      [1, [2, 2], [7, 0]],
      [0, [3, 0]],
      [1, [3, 1]],
      [1, [4, 0], [2, 0]],
      [1, [4, 0], [0, 0]],
      [1, [4, 1], [1, 0]],
      [1, [5, 0], [0, 0, 0, 0, 0, 0, 0, 0]],
      [1, [99, 0]],
      [1, [0]],
    ]
    for (const [expected, ...parts] of cases)
      expect([parts, await command(net, memory, ...parts)]).toEqual([parts, expected])
  })

  it('has no control queue for a driver that does not want it', async () => {
    const { backEnd, net } = await setUp({ withoutFeatures: ['CTRL_VQ'] })
    expect(net.hasQueue('controlq')).toBe(false)
    expect(backEnd.peer.received.filter(({ request }) => request === Request.SET_VRING_NUM).length).toBe(2)
  })

  it('tells the MTU where that was asked for', async () => {
    const { backEnd, transport, net } = await setUp({
      protocolFeatures: protocolFeatures('REPLY_ACK', 'NET_MTU'),
      endpoint: { net: { mtu: 9000 } },
    })
    expect(net.features.has('MTU')).toBe(true)
    expect(new DataView((await configOf(transport)).buffer).getUint16(10, true)).toBe(9000)
    expect(backEnd.peer.find(Request.NET_SET_MTU)?.payload).toEqual(u64(9000))
  })
})

describe('several pairs of queues', () => {
  const features = PROTOCOL_FEATURES_BIT | VERSION_1 | RING_FEATURES | MQ
  const switched = (backEnd: RawBackEnd): string[] =>
    backEnd.peer.received
      .filter(({ request }) => request === Request.SET_VRING_ENABLE)
      .map(({ payload }) => `${payload[0]}${payload[4] ? '+' : '-'}`)

  it('begin with one, and are switched by command; the control queue is behind the last there could be', async () => {
    const { backEnd, transport, net } = await setUp({ features, queueCount: 4, pairs: 2 })
    expect(new DataView((await configOf(transport)).buffer).getUint16(8, true)).toBe(4)
    expect(net.describe().queues.map(({ index }) => index)).toEqual([0, 1, 2, 3, 8])
    expect(transport.queueDescriptors(3)).toBeDefined()
    expect(transport.queueDescriptors(8)).toBe(undefined)
    expect(switched(backEnd)).toEqual(['0+', '1+'])
    const memory = net.allocate(2048)
    expect(await command(net, memory, [4, 0], [2, 0])).toBe(0)
    expect(switched(backEnd)).toEqual(['0+', '1+', '2+', '3+'])
    expect(await command(net, memory, [4, 0], [2, 0])).toBe(0)
    expect(await command(net, memory, [4, 0], [1, 0])).toBe(0)
    expect(switched(backEnd)).toEqual(['0+', '1+', '2+', '3+', '2-', '3-'])
    // Pairs that the driver did not set up, and pairs that there are not.
    expect(await command(net, memory, [4, 0], [3, 0])).toBe(1)
    expect(await command(net, memory, [4, 0], [5, 0])).toBe(1)
    expect(switched(backEnd).length).toBe(6)
    const told = backEnd.peer.find(Request.SET_FEATURES)?.payload as Uint8Array
    expect(new DataView(told.buffer).getBigUint64(0, true) & MQ).toBe(MQ)
  })

  it('are one where the driver does not accept them: the control queue is the third', async () => {
    const { net } = await setUp({ features, queueCount: 4, pairs: 2, withoutFeatures: ['MQ'] })
    expect(net.describe().queues.map(({ index }) => index)).toEqual([0, 1, 2])
    expect(await command(net, net.allocate(2048), [0, 0], [1])).toBe(0)
  })

  it.each([
    ['the device feature', PROTOCOL_FEATURES_BIT | VERSION_1, protocolFeatures('REPLY_ACK', 'MQ'), 4],
    ['the protocol feature', features, protocolFeatures('REPLY_ACK'), 4],
    ['a second pair', features, protocolFeatures('REPLY_ACK', 'MQ'), 1],
  ])('are not offered without %s', async (_, bits, protocol, queueCount) => {
    const { net } = await setUp({ features: bits, protocolFeatures: protocol, queueCount, pairs: 2 })
    expect(net.features.has('MQ')).toBe(false)
    expect(net.describe().queues.map(({ index }) => index)).toEqual([0, 1, 2])
  })

  it('are no more than messages can number, however many a back-end claims', async () => {
    const { transport } = await setUp({ features, queueCount: 0x7fffffff, pairs: 1 })
    expect(new DataView((await configOf(transport)).buffer).getUint16(8, true)).toBe(128)
  })
})

describe('a network device whose back-end does more', () => {
  const config = new Uint8Array(20)
  config.set([0x52, 0x54, 0, 1, 2, 3, 1, 0, 1, 0, 0xdc, 5])
  const features = PROTOCOL_FEATURES_BIT | VERSION_1 | (1n << 5n) | (1n << 16n) | (1n << 17n) | (1n << 3n)
  const protocol = protocolFeatures('REPLY_ACK', 'MQ', 'CONFIG')

  it('keeps its own address and link, until the driver says otherwise', async () => {
    const { transport, net } = await setUp({ features, protocolFeatures: protocol, config })
    expect([...(await configOf(transport))]).toEqual([...config])
    expect(await command(net, net.allocate(2048), [1, 1], [2, 0, 0, 0, 0, 9])).toBe(0)
    expect([...(await configOf(transport)).subarray(0, 7)]).toEqual([2, 0, 0, 0, 0, 9, 1])
  })

  it("has its owner's address and MTU rather than its own", async () => {
    const mac = Uint8Array.of(2, 1, 2, 3, 4, 5)
    const { transport } = await setUp({
      features,
      protocolFeatures: protocol,
      config,
      endpoint: { net: { mac, mtu: 2000 } },
    })
    const contents = await configOf(transport)
    expect([...contents.subarray(0, 6)]).toEqual([...mac])
    expect(new DataView(contents.buffer).getUint16(10, true)).toBe(2000)
  })

  it('serves its control queue where it counts a ring for it', async () => {
    const { backEnd, transport } = await setUp({ features, protocolFeatures: protocol, config, queueCount: 3 })
    expect(backEnd.peer.received.filter(({ request }) => request === Request.SET_VRING_NUM).length).toBe(3)
    expect(transport.queueDescriptors(2)).toBeDefined()
    const told = backEnd.peer.find(Request.SET_FEATURES)?.payload as Uint8Array
    expect((new DataView(told.buffer).getBigUint64(0, true) >> 17n) & 1n).toBe(1n)
  })
})

describe('a back-end that writes where the control queue is', () => {
  it.each(['split', 'packed'])('breaks that queue at most: %s', async (ring) => {
    let state = 99
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    const features = PROTOCOL_FEATURES_BIT | VERSION_1 | RING_FEATURES | (ring === 'packed' ? PACKED : 0n)
    let broken = 0
    for (let round = 0; round < 100; round++) {
      const { transport, net } = await setUp({ features })
      net.onFault((reason: VirtioError) => {
        expect(['device.needs-reset', 'ring.id-range', 'ring.not-head', 'ring.idx-jump', 'ring.length']).toContain(
          reason.code,
        )
        broken++
      })
      const memory = net.allocate(2048)
      const first = await command(net, memory, [0, 0], [1])
      expect(first).toBe(0)
      const { bytes } = memory
      const whole = new Uint8Array(bytes.buffer, 0, bytes.byteOffset)
      for (let i = 0; i < 400; i++) whole[random(whole.length)] = random(256)
      for (let i = 0; i < 5; i++) {
        transport.notify(2)
        await new Promise((resolve) => setImmediate(resolve))
      }
      for (const one of open.splice(0).reverse()) await one.close()
    }
    expect(broken).toBeGreaterThan(0)
  })
})
