import { type DriverSpec, initialize, type Transport } from '@virtio-ts/core'
import { close, duplicate, openFdCount, read, write } from '@virtio-ts/native'
import { DeviceStatus, VhostUserRequest as Request, type VirtioError } from '@virtio-ts/spec'
import { afterEach, describe, expect, it } from 'vitest'
import {
  PROTOCOL_FEATURES_BIT,
  protocolFeatures,
  RawBackEnd,
  type RawBackEndOptions,
  type RawMessage,
  reply,
  u32s,
  u64,
  until,
} from './raw-back-end.fixture.ts'
import { VhostUserEndpoint, type VhostUserOptions } from './vhost-user-endpoint.ts'

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET } = DeviceStatus
const VERSION_1 = 1n << 32n
const PACKED = 1n << 34n
const RING_RESET = 1n << 40n
const ONE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)
const DEVICE_TYPE = 26

const spec: DriverSpec<never, 'first' | 'second'> = {
  name: 'test',
  deviceType: DEVICE_TYPE,
  features: {},
  queues: ['first', 'second'],
}

const open: { close(): unknown }[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close()
})

function setUp(
  options: RawBackEndOptions = {},
  endpointOptions: Partial<VhostUserOptions> = {},
): { backEnd: RawBackEnd; endpoint: VhostUserEndpoint } {
  const backEnd = new RawBackEnd({ queueCount: 2, ...options })
  const endpoint = new VhostUserEndpoint({ path: backEnd.path, deviceType: DEVICE_TYPE, ...endpointOptions })
  open.push(backEnd, endpoint)
  return { backEnd, endpoint }
}

async function negotiate(transport: Transport, features: bigint = VERSION_1): Promise<void> {
  await transport.reset()
  await transport.setStatus(ACKNOWLEDGE)
  await transport.setStatus(ACKNOWLEDGE | DRIVER)
  await transport.acceptFeatures(features)
  await transport.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
}

/** Names of the requests a back-end got, in order. */
function names(backEnd: RawBackEnd): string[] {
  const byNumber = new Map(Object.entries(Request).map(([name, number]) => [number as number, name]))
  return backEnd.peer.requests().map((request) => byNumber.get(request) ?? `${request}`)
}

const payloads = (backEnd: RawBackEnd, request: number): string[] =>
  backEnd.peer.received
    .filter((one) => one.request === request)
    .map(({ payload }) => Buffer.from(payload).toString('hex'))

describe('initialisation over vhost-user', () => {
  it('says it all in the order back-ends want to hear it, and takes it back in reverse', async () => {
    const { backEnd, endpoint } = setUp()
    const device = await initialize(await endpoint.connect(), spec, { queueSize: 64, interrupts: 'none' })
    expect(names(backEnd)).toEqual([
      'SET_OWNER',
      'GET_FEATURES',
      'GET_PROTOCOL_FEATURES',
      'SET_PROTOCOL_FEATURES',
      'GET_QUEUE_NUM',
      'SET_FEATURES',
      'SET_MEM_TABLE',
      ...[0, 1].flatMap(() => [
        'SET_VRING_NUM',
        'SET_VRING_BASE',
        'SET_VRING_ADDR',
        'SET_VRING_ERR',
        'SET_VRING_CALL',
        'SET_VRING_KICK',
      ]),
      'SET_VRING_ENABLE',
      'SET_VRING_ENABLE',
    ])
    expect(backEnd.peer.find(Request.SET_FEATURES)?.payload).toEqual(u64(VERSION_1 | PROTOCOL_FEATURES_BIT))
    expect(payloads(backEnd, Request.SET_VRING_NUM)).toEqual(['0000000040000000', '0100000040000000'])
    expect(payloads(backEnd, Request.SET_VRING_ENABLE)).toEqual(['0000000001000000', '0100000001000000'])
    for (const request of [
      Request.SET_VRING_KICK,
      Request.SET_VRING_CALL,
      Request.SET_VRING_ERR,
      Request.SET_MEM_TABLE,
    ])
      expect(backEnd.peer.find(request)?.fds.length).toBe(1)
    // Everything but what has a reply of its own is confirmed, once that was agreed on.
    const unconfirmed = backEnd.peer.received.filter(({ flags }) => (flags & 8) === 0).map(({ request }) => request)
    expect(unconfirmed).toEqual([
      Request.SET_OWNER,
      Request.GET_FEATURES,
      Request.GET_PROTOCOL_FEATURES,
      Request.SET_PROTOCOL_FEATURES,
      Request.GET_QUEUE_NUM,
    ])
    const before = names(backEnd).length
    await device.close()
    expect(names(backEnd).slice(before)).toEqual([
      'SET_VRING_ENABLE',
      'GET_VRING_BASE',
      'SET_VRING_ENABLE',
      'GET_VRING_BASE',
    ])
    expect(payloads(backEnd, Request.SET_VRING_ENABLE).slice(2)).toEqual(['0000000000000000', '0100000000000000'])
  })

  it('starts packed rings with both wrap counters at 1', async () => {
    const { backEnd, endpoint } = setUp({ features: PROTOCOL_FEATURES_BIT | VERSION_1 | PACKED })
    await using device = await initialize(await endpoint.connect(), spec)
    expect(device.features.has('RING_PACKED' as never)).toBe(true)
    expect(backEnd.peer.find(Request.SET_VRING_BASE)?.payload).toEqual(u32s(1, 0x8000_8000))
  })

  it('notifies each queue once the device is live, for back-ends that wait for it', async () => {
    const { backEnd, endpoint } = setUp()
    await using _ = await initialize(await endpoint.connect(), spec)
    for (const message of backEnd.peer.received) {
      if (message.request === Request.SET_VRING_KICK) expect(read(message.fds[0] as number, new Uint8Array(8))).toBe(8)
    }
  })

  it('asks something at the end where nothing is confirmed, to know that it was heard', async () => {
    const { backEnd, endpoint } = setUp({ protocolFeatures: 0n })
    const transport = await endpoint.connect()
    await negotiate(transport)
    const sent = names(backEnd)
    expect(sent.indexOf('GET_FEATURES', sent.indexOf('SET_MEM_TABLE'))).toBeGreaterThan(0)
    await transport.close()
  })

  it('works with the oldest protocol: rings are on when they are there', async () => {
    const { backEnd, endpoint } = setUp({ features: VERSION_1 })
    await using _ = await initialize(await endpoint.connect(), spec)
    expect(names(backEnd)).not.toContain('GET_PROTOCOL_FEATURES')
    expect(names(backEnd)).not.toContain('SET_VRING_ENABLE')
    expect(backEnd.peer.find(Request.SET_FEATURES)?.payload).toEqual(u64(VERSION_1))
  })

  it('tells the status where the back-end wants to know, and resets it', async () => {
    const { backEnd, endpoint } = setUp({ protocolFeatures: protocolFeatures('REPLY_ACK', 'STATUS', 'RESET_DEVICE') })
    const device = await initialize(await endpoint.connect(), spec)
    expect(payloads(backEnd, Request.SET_STATUS).map((payload) => payload.slice(0, 2))).toEqual([
      '00',
      '01',
      '03',
      '0b',
      '0f',
    ])
    const before = names(backEnd).length
    await device.close()
    expect(names(backEnd).slice(before).slice(-2)).toEqual(['SET_STATUS', 'RESET_DEVICE'])
  })

  it('§ 2.2.2 does not let FEATURES_OK stand for features that were not offered, and does not pass them on', async () => {
    const { backEnd, endpoint } = setUp()
    const transport = await endpoint.connect()
    await negotiate(transport, VERSION_1 | 1n)
    expect((await transport.status()) & FEATURES_OK).toBe(0)
    expect(names(backEnd)).not.toContain('SET_FEATURES')
    await negotiate(transport)
    expect((await transport.status()) & FEATURES_OK).toBe(FEATURES_OK)
    await transport.close()
  })

  it('believes a back-end that does not let FEATURES_OK stand', async () => {
    const { endpoint } = setUp({
      protocolFeatures: protocolFeatures('REPLY_ACK', 'STATUS'),
      answers: { [Request.GET_STATUS]: () => u64(ACKNOWLEDGE | DRIVER) },
    })
    await expect(initialize(await endpoint.connect(), spec)).rejects.toMatchObject({ code: 'features.refused' })
  })

  it('offers nothing that there is no message for', async () => {
    const { endpoint } = setUp({ features: (1n << 64n) - 1n })
    const transport = await endpoint.connect()
    const offered = await transport.deviceFeatures()
    for (const bit of [26n, 30n, 33n, 37n, 38n, 39n, 41n]) expect((offered >> bit) & 1n).toBe(0n)
    expect((offered >> 34n) & 1n).toBe(1n)
    await transport.close()
  })

  it('keeps to the queues there are', async () => {
    const { endpoint } = setUp({ queueCount: 1 })
    await expect(initialize(await endpoint.connect(), spec)).rejects.toMatchObject({
      code: 'queue.missing',
      details: { queue: 1 },
    })
  })

  it('hands what the back-end notes down for requests in flight back to it, unread', async () => {
    const files: number[] = []
    const before = openFdCount()
    const { backEnd, endpoint } = setUp({ protocolFeatures: protocolFeatures('REPLY_ACK', 'INFLIGHT_SHMFD') })
    const connecting = endpoint.connect()
    const transport = await connecting
    const inflight = new Uint8Array([...u64(1 << 30), ...u64(4096), 0, 1, 0, 4, 0, 0, 0, 0])
    backEnd.peer.answer(Request.GET_INFLIGHT_FD, () => {
      backEnd.peer.send(reply(Request.GET_INFLIGHT_FD, inflight), [backEnd.peer.fd, backEnd.peer.fd])
      return undefined
    })
    await negotiate(transport)
    const back = backEnd.peer.find(Request.SET_INFLIGHT_FD)
    expect(back?.payload).toEqual(inflight)
    expect(back?.fds.length).toBe(1)
    files.push(...(back?.fds ?? []))
    await transport.close()
    await endpoint.close()
    backEnd.close()
    expect(openFdCount()).toBeLessThanOrEqual(before)
  })
})

describe('notifications over vhost-user', () => {
  it('reach the listener of their queue, from DRIVER_OK on', async () => {
    const { backEnd, endpoint } = setUp()
    const device = await initialize(await endpoint.connect(), spec)
    expect(device.describe()).toMatchObject({ transport: 'vhost-user', interrupts: 'eventfd', vectors: 2 })
    const used: string[] = []
    device.onUsed('first', () => used.push('first'))
    device.onUsed('second', () => used.push('second'))
    const calls = backEnd.peer.received.filter(({ request }) => request === Request.SET_VRING_CALL)
    for (const { fds } of [...calls].reverse()) {
      write(fds[0] as number, ONE)
      const count = used.length
      await until(() => used.length > count)
    }
    expect(used).toEqual(['second', 'first'])
    await device.close()
  })

  it('leave a queue alone that nobody listens to: another thread may', async () => {
    const { backEnd, endpoint } = setUp()
    const transport = await endpoint.connect()
    await using _ = await initialize(transport, spec)
    const [first, second] = [0, 1].map((index) => transport.queueDescriptors(index))
    expect(first?.notify).not.toBe(second?.notify)
    const call = backEnd.peer.find(Request.SET_VRING_CALL)?.fds[0] as number
    write(call, ONE)
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(read(second?.used as number, new Uint8Array(8))).toBe(8)
    expect(transport.queueDescriptors(2)).toBe(undefined)
  })

  it('give out no descriptor to wait for in polled mode', async () => {
    const { endpoint } = setUp()
    const transport = await endpoint.connect()
    await using _ = await initialize(transport, spec, { interrupts: 'none' })
    expect(transport.queueDescriptors(0)).toMatchObject({ used: undefined })
  })

  it('V12 make a fault of a queue that the back-end gives up', async () => {
    const { backEnd, endpoint } = setUp()
    const transport = await endpoint.connect()
    const device = await initialize(transport, spec)
    const fault = new Promise<VirtioError>((resolve) => device.onFault(resolve))
    write(backEnd.peer.find(Request.SET_VRING_ERR)?.fds[0] as number, ONE)
    expect(await fault).toMatchObject({ code: 'device.needs-reset' })
    expect((await transport.status()) & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET)
    await device.close()
  })

  it('V12 survive a back-end that always or never takes them', async () => {
    const { backEnd, endpoint } = setUp()
    const device = await initialize(await endpoint.connect(), spec)
    let used = 0
    device.onUsed('first', () => used++)
    const call = duplicate(
      backEnd.peer.received.find(({ request }) => request === Request.SET_VRING_CALL)?.fds[0] as number,
    )
    // As full as an eventfd can be.
    write(call, Uint8Array.of(0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
    await until(() => used > 0)
    close(call)
    await device.close()
  })
})

describe('the end of a connection', () => {
  it('fails everything, once, and frees everything', async () => {
    const before = openFdCount()
    const { backEnd, endpoint } = setUp()
    const transport = await endpoint.connect()
    const reasons: Error[] = []
    transport.onGone((reason) => reasons.push(reason))
    const device = await initialize(transport, spec)
    const faults: VirtioError[] = []
    device.onFault((reason) => faults.push(reason))
    backEnd.peer.close()
    await until(() => faults.length > 0)
    expect(faults).toMatchObject([{ code: 'device.gone' }])
    expect(reasons).toMatchObject([{ code: 'device.gone', cause: { code: 'vhost-user.disconnected' } }])
    transport.notify(0)
    for (const attempt of [transport.status(), transport.reset(), transport.setStatus(1), transport.deviceFeatures()])
      await expect(attempt).rejects.toBe(reasons[0])
    expect(transport.configLength).toBe(0)
    expect(() => transport.dma.allocate(64)).toThrow(expect.objectContaining({ code: 'device.gone' }))
    let late: Error | undefined
    transport.onGone((reason) => (late = reason))
    await until(() => late !== undefined)
    await device.close()
    expect(transport.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await endpoint.close()
    backEnd.close()
    expect(openFdCount()).toBe(before)
  })

  it('V10 a ring that is not let go ends the connection, and its memory is used no more', async () => {
    const { backEnd, endpoint } = setUp({ answers: { [Request.GET_VRING_BASE]: () => undefined } }, { timeout: 300 })
    const transport = await endpoint.connect()
    const device = await initialize(transport, spec)
    device.allocate(4096)
    await expect(device.close()).rejects.toMatchObject({
      code: 'device.reset-timeout',
      details: { cause: { code: 'vhost-user.timeout' } },
    })
    await until(() => backEnd.peer.ended)
    expect(transport.dma.stats.allocatedBytes).toBe(0)
    expect(transport.dma.stats.quarantinedBytes).toBeGreaterThan(4096)
    expect(() => transport.dma.allocate(64)).toThrow(expect.objectContaining({ code: 'device.gone' }))
    // The next connection has nothing of the last one.
    await using next = await initialize(await endpoint.connect(), { ...spec, queues: ['first'] }).catch((error) => {
      throw error
    })
    expect(next.allocate(4096).deviceAddress).toBeGreaterThan(0)
    backEnd.peer.answer(Request.GET_VRING_BASE, ({ payload }) => u32s(payload[0] as number, 0))
  })

  it('V10 a ring that is let go in the name of another is a breach of the protocol', async () => {
    const { endpoint } = setUp({ answers: { [Request.GET_VRING_BASE]: () => u32s(7, 0) } })
    const transport = await endpoint.connect()
    await using device = await initialize(transport, spec)
    await expect(transport.reset()).rejects.toMatchObject({
      code: 'device.gone',
      cause: { code: 'vhost-user.protocol' },
    })
    expect(device.fault ?? { code: 'device.gone' }).toMatchObject({ code: 'device.gone' })
  })

  it('refused requests are errors at once', async () => {
    const { endpoint } = setUp({ answers: { [Request.SET_MEM_TABLE]: () => u64(1) } })
    await expect(initialize(await endpoint.connect(), spec)).rejects.toMatchObject({
      code: 'vhost-user.refused',
      details: { detail: { request: 'SET_MEM_TABLE', answer: 1 } },
    })
  })

  it('nothing is left when the transport is closed, whatever the state', async () => {
    const before = openFdCount()
    const { backEnd, endpoint } = setUp()
    const fresh = await endpoint.connect()
    await Promise.all([fresh.close(), fresh.close()])
    await expect(fresh.status()).rejects.toMatchObject({ code: 'transport.closed' })
    const half = await endpoint.connect()
    await negotiate(half)
    await half.close()
    const device = await initialize(await endpoint.connect(), spec)
    device.onUsed('first', () => {})
    await device.close()
    await endpoint.close()
    await until(() => backEnd.peers.every((peer) => peer.ended))
    backEnd.close()
    expect(openFdCount()).toBe(before)
  })
})

describe('after a reset', () => {
  it('the device is there again on the same connection', async () => {
    const { backEnd, endpoint } = setUp()
    const transport = await endpoint.connect()
    for (let round = 0; round < 3; round++) {
      await negotiate(transport)
      await transport.setUpInterrupts(2, 'auto')
      const region = transport.dma.allocate(4096)
      const addresses = {
        descriptorArea: region.deviceAddress,
        driverArea: region.deviceAddress,
        deviceArea: region.deviceAddress,
      }
      await transport.enableQueue(0, 16, addresses)
      await expect(transport.enableQueue(0, 16, addresses)).rejects.toMatchObject({ code: 'queue.in-use' })
      await transport.setStatus((await transport.status()) | DRIVER_OK)
      await transport.reset()
      transport.dma.free(region)
      expect(await transport.status()).toBe(0)
    }
    expect(backEnd.peers.length).toBe(1)
    expect(payloads(backEnd, Request.GET_VRING_BASE).length).toBe(3)
    await transport.close()
  })

  it('§ 2.6.1 a single queue can be reset too, and is on again when it is enabled', async () => {
    const { backEnd, endpoint } = setUp({ features: PROTOCOL_FEATURES_BIT | VERSION_1 | RING_RESET })
    await using device = await initialize(await endpoint.connect(), spec)
    const before = names(backEnd).length
    await device.resetQueue('second')
    const sent = names(backEnd).slice(before)
    expect(sent.slice(0, 2)).toEqual(['SET_VRING_ENABLE', 'GET_VRING_BASE'])
    expect(sent.at(-1)).toBe('SET_VRING_ENABLE')
    expect(payloads(backEnd, Request.SET_VRING_ENABLE).at(-1)).toBe('0100000001000000')
  })
})

describe('configuration over vhost-user', () => {
  const config = Uint8Array.from({ length: 60 }, (_, i) => i)
  const features = protocolFeatures('REPLY_ACK', 'CONFIG', 'BACKEND_REQ')

  it('is as long as the back-end has it, read from its beginning and written in place', async () => {
    const { backEnd, endpoint } = setUp({ protocolFeatures: features, config })
    const transport = await endpoint.connect()
    expect(transport.configLength).toBe(60)
    const part = new Uint8Array(5)
    await transport.readConfig(17, part)
    expect([...part]).toEqual([17, 18, 19, 20, 21])
    expect(new Set(payloads(backEnd, Request.GET_CONFIG).map((payload) => payload.slice(0, 8)))).toEqual(
      new Set(['00000000']),
    )
    await transport.writeConfig(58, Uint8Array.of(0xaa, 0xbb))
    expect(backEnd.peer.find(Request.SET_CONFIG)?.payload).toEqual(new Uint8Array([...u32s(58, 2, 0), 0xaa, 0xbb]))
    await transport.close()
  })

  it.each([0, 1, 7, 255, 256, 300])('of %i bytes is found out to be that long, up to 256', async (length) => {
    const { endpoint } = setUp({ protocolFeatures: features, config: new Uint8Array(length) })
    const transport = await endpoint.connect()
    expect(transport.configLength).toBe(Math.min(length, 256))
    await transport.close()
  })

  it('V4 of another range than was asked for ends the connection', async () => {
    const { endpoint } = setUp({
      protocolFeatures: features,
      answers: { [Request.GET_CONFIG]: ({ payload }) => payload.with(0, 4) },
    })
    await expect(endpoint.connect()).rejects.toMatchObject({ code: 'vhost-user.protocol' })
  })

  it('changes are told by the back-end on a channel of its own, and answered where it asks', async () => {
    const { backEnd, endpoint } = setUp({ protocolFeatures: features, config })
    await using device = await initialize(await endpoint.connect(), spec)
    let changes = 0
    device.onConfigChange(() => changes++)
    const channel = backEnd.peer.find(Request.SET_BACKEND_REQ_FD)?.fds[0] as number
    write(channel, new Uint8Array([...u32s(2, 1, 0), ...u32s(2, 9, 0)]))
    await until(() => changes === 2)
    const answer = new Uint8Array(64)
    await until(() => read(channel, answer) > 0)
    expect(answer.subarray(0, 20)).toEqual(reply(2, u64(0)))
  })

  const forbidden: readonly (readonly [string, Uint8Array])[] = [
    ['a host notifier', u32s(3, 1, 0)],
    ['a used notification in band', u32s(4, 1, 0)],
    ['something unknown', u32s(99, 1, 0)],
    ['another version', u32s(2, 2, 0)],
    ['a reply', u32s(2, 5, 0)],
    ['far too much', u32s(2, 1, 0xffffffff)],
  ]
  it.each(forbidden)('V13 %s on that channel ends the connection', async (_, bytes) => {
    const { backEnd, endpoint } = setUp({ protocolFeatures: features, config })
    await using device = await initialize(await endpoint.connect(), spec)
    const fault = new Promise<VirtioError>((resolve) => device.onFault(resolve))
    const before = openFdCount()
    write(backEnd.peer.find(Request.SET_BACKEND_REQ_FD)?.fds[0] as number, bytes)
    expect(await fault).toMatchObject({ code: 'device.gone', cause: { cause: { code: 'vhost-user.protocol' } } })
    expect(openFdCount()).toBeLessThan(before)
  })
})

describe('memory over vhost-user', () => {
  it('is one region, or several side by side', async () => {
    for (const regions of [1, 3]) {
      const { backEnd, endpoint } = setUp({}, { memory: { length: 12 << 20, regions } })
      const transport = await endpoint.connect()
      await negotiate(transport)
      const table = backEnd.peer.find(Request.SET_MEM_TABLE)
      expect(table?.fds.length).toBe(regions)
      const view = new DataView((table as RawMessage).payload.buffer)
      expect(view.getUint32(0, true)).toBe(regions)
      let next = 2 << 20
      for (let i = 0; i < regions; i++) {
        const at = 8 + 32 * i
        expect(Number(view.getBigUint64(at, true))).toBe(next)
        expect(view.getBigUint64(at + 16, true)).toBe(BigInt(next))
        next += Number(view.getBigUint64(at + 8, true))
      }
      expect(next - (2 << 20)).toBe(12 << 20)
      await transport.close()
    }
  })

  it('is added region by region where the back-end can do that, once', async () => {
    const { backEnd, endpoint } = setUp(
      { protocolFeatures: protocolFeatures('REPLY_ACK', 'CONFIGURE_MEM_SLOTS') },
      { memory: { regions: 12 } },
    )
    const transport = await endpoint.connect()
    await negotiate(transport)
    await negotiate(transport)
    expect(names(backEnd).filter((name) => name === 'ADD_MEM_REG').length).toBe(12)
    expect(names(backEnd)).not.toContain('SET_MEM_TABLE')
    await transport.close()
  })

  it('of more regions than the back-end takes is an error', async () => {
    const { endpoint } = setUp({}, { memory: { regions: 9 } })
    const transport = await endpoint.connect()
    await expect(negotiate(transport)).rejects.toMatchObject({ code: 'vhost-user.memory-slots' })
    await transport.close()
  })

  it('V8 cannot be cut off by the back-end', async () => {
    const { backEnd, endpoint } = setUp()
    const transport = await endpoint.connect()
    await negotiate(transport)
    const fd = backEnd.peer.find(Request.SET_MEM_TABLE)?.fds[0] as number
    const { ftruncateSync } = await import('node:fs')
    expect(() => ftruncateSync(fd, 0)).toThrow('EPERM')
    await transport.close()
  })
})
