import { close, eventfd, openFdCount, socketPair } from '@virtio-ts/native'
import { type VirtioError, VhostUserRequest as Request } from '@virtio-ts/spec'
import { afterEach, describe, expect, it } from 'vitest'
import { RawPeer, raw, reply, u64, until } from './raw-back-end.fixture.ts'
import { VhostUserConnection } from './vhost-user-connection.ts'

const EMPTY = new Uint8Array(0)
const connections: VhostUserConnection[] = []
const peers: RawPeer[] = []

function connect(timeout = 2000): { connection: VhostUserConnection; peer: RawPeer; reasons: VirtioError[] } {
  const [ours, theirs] = socketPair()
  const connection = new VhostUserConnection(ours, { path: '/socket', timeout })
  const peer = new RawPeer(theirs)
  connections.push(connection)
  peers.push(peer)
  const reasons: VirtioError[] = []
  connection.onEnd((reason) => reasons.push(reason))
  return { connection, peer, reasons }
}

afterEach(() => {
  for (const connection of connections.splice(0)) connection.close()
  for (const peer of peers.splice(0)) peer.close()
})

describe('a vhost-user connection', () => {
  it('sends requests and takes their replies', async () => {
    const { connection, peer } = connect()
    peer.answer(Request.GET_FEATURES, () => u64(0x4000_0001))
    expect((await connection.ask(Request.GET_FEATURES, EMPTY)).payload).toEqual(u64(0x4000_0001))
    await connection.send(Request.SET_FEATURES, u64(1))
    peer.acknowledge()
    expect((await connection.send(Request.SET_STATUS, u64(15), { needReply: true })).payload).toEqual(u64(0))
    expect(peer.received.map(({ request, flags }) => [request, flags])).toEqual([
      [Request.GET_FEATURES, 1],
      [Request.SET_FEATURES, 1],
      [Request.SET_STATUS, 1 | 8],
    ])
  })

  it('has one request out at a time', async () => {
    const { connection, peer } = connect()
    const answers: (() => void)[] = []
    peer.answer(Request.GET_STATUS, () => {
      answers.push(() => peer.send(reply(Request.GET_STATUS, u64(answers.length))))
      return undefined
    })
    const asked = [1, 2, 3].map(() => connection.ask(Request.GET_STATUS, EMPTY))
    for (let n = 1; n <= 3; n++) {
      await until(() => answers.length === n)
      await new Promise((resolve) => setTimeout(resolve, 2))
      expect(peer.received.length).toBe(n)
      answers[n - 1]?.()
    }
    expect((await Promise.all(asked)).map(({ payload }) => payload[0])).toEqual([1, 2, 3])
  })

  it('puts a reply together from single bytes', async () => {
    const { connection, peer } = connect()
    peer.answer(Request.GET_FEATURES, () => {
      void (async () => {
        for (const byte of reply(Request.GET_FEATURES, u64(0x1122_3344))) {
          peer.send(Uint8Array.of(byte))
          await new Promise((resolve) => setImmediate(resolve))
        }
      })()
      return undefined
    })
    expect((await connection.ask(Request.GET_FEATURES, EMPTY)).payload).toEqual(u64(0x1122_3344))
  })

  it('passes descriptors on, and takes those it asked for', async () => {
    const { connection, peer } = connect()
    const before = openFdCount()
    const fd = eventfd()
    await connection.send(Request.SET_VRING_KICK, u64(0), { fds: [fd] })
    await until(() => peer.received.length === 1)
    expect(peer.received[0]?.fds.length).toBe(1)
    peer.answer(Request.GET_INFLIGHT_FD, () => {
      peer.send(reply(Request.GET_INFLIGHT_FD, u64(0)), [fd, fd, fd])
      return undefined
    })
    const { fds } = await connection.ask(Request.GET_INFLIGHT_FD, EMPTY, 1)
    expect(fds.length).toBe(1)
    for (const one of [...fds, fd]) close(one)
    expect(openFdCount()).toBe(before + 1)
  })

  it('V3 closes descriptors nobody asked for', async () => {
    const { connection, peer } = connect()
    const fds = Array.from({ length: 253 }, () => peer.fd)
    for (const some of [fds.slice(0, 1), fds.slice(0, 7), fds]) {
      peer.answer(Request.GET_FEATURES, () => {
        peer.send(reply(Request.GET_FEATURES, u64(5)), some)
        return undefined
      })
      const before = openFdCount()
      for (let i = 0; i < 50; i++) expect((await connection.ask(Request.GET_FEATURES, EMPTY)).payload).toEqual(u64(5))
      expect(openFdCount()).toBe(before)
    }
  })

  it('V1 ends where the stream ends, at whatever byte of a reply', async () => {
    const whole = reply(Request.GET_INFLIGHT_FD, u64(1))
    const fd = eventfd()
    const before = openFdCount()
    for (let cut = 0; cut < whole.length; cut++) {
      const { connection, peer, reasons } = connect()
      peer.answer(Request.GET_INFLIGHT_FD, () => {
        if (cut > 0) peer.send(whole.subarray(0, cut), [fd])
        peer.close()
        return undefined
      })
      await expect(connection.ask(Request.GET_INFLIGHT_FD, EMPTY, 1)).rejects.toMatchObject({
        code: 'vhost-user.disconnected',
      })
      await expect(connection.ask(Request.GET_FEATURES, EMPTY)).rejects.toBe(connection.ended)
      expect(reasons).toEqual([connection.ended])
    }
    expect(openFdCount()).toBe(before)
    close(fd)
  })

  const wrong: readonly (readonly [string, Uint8Array])[] = [
    ['of another version', raw(Request.GET_FEATURES, 2 | 4, u64(1))],
    ['without a version', raw(Request.GET_FEATURES, 4, u64(1))],
    ['that is a request', raw(Request.GET_FEATURES, 1, u64(1))],
    ['to something else', reply(Request.GET_STATUS, u64(1))],
    ['longer than any', raw(Request.GET_FEATURES, 5, EMPTY, 4097)],
    ['of 4 GiB', raw(Request.GET_FEATURES, 5, EMPTY, 0xffffffff)],
  ]
  it.each(wrong)('V2 ends at a reply %s', async (_, bytes) => {
    const { connection, peer, reasons } = connect()
    const before = openFdCount()
    peer.answer(Request.GET_FEATURES, () => {
      peer.send(bytes)
      return undefined
    })
    await expect(connection.ask(Request.GET_FEATURES, EMPTY)).rejects.toMatchObject({ code: 'vhost-user.protocol' })
    await until(() => peer.ended)
    expect(reasons).toMatchObject([{ code: 'vhost-user.protocol' }])
    // Both ends of the socket, and the copies they are watched by.
    expect(openFdCount()).toBe(before - 4)
  })

  it('takes the longest payload', async () => {
    const { connection, peer } = connect()
    peer.answer(Request.GET_CONFIG, () => new Uint8Array(4096).fill(7))
    expect((await connection.ask(Request.GET_CONFIG, EMPTY)).payload.length).toBe(4096)
  })

  it('V2 ends at a reply that nobody asked for', async () => {
    const { connection, peer, reasons } = connect()
    peer.send(reply(Request.GET_FEATURES, u64(1)))
    await until(() => reasons.length > 0)
    expect(reasons).toMatchObject([{ code: 'vhost-user.protocol' }])
    await expect(connection.send(Request.SET_OWNER, EMPTY)).rejects.toBe(reasons[0])
  })

  it('V2 survives noise of any kind, and is left with nothing', async () => {
    let state = 12345
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    const before = openFdCount()
    for (let round = 0; round < 300; round++) {
      const { connection, peer } = connect(50)
      peer.answer(Request.GET_FEATURES, () => {
        const noise = Uint8Array.from({ length: 1 + random(64) }, () => random(256))
        // Often right as far as the header goes.
        if (random(2)) noise.set(reply(Request.GET_FEATURES, EMPTY).subarray(0, Math.min(noise.length, random(13))))
        peer.send(
          noise,
          Array.from({ length: random(4) }, () => peer.fd),
        )
        if (random(2)) peer.close()
        return undefined
      })
      const answer = await connection.ask(Request.GET_FEATURES, EMPTY).catch((error: unknown) => error)
      if (answer instanceof Error) expect((answer as VirtioError).code).toMatch(/^vhost-user\./)
      connection.close()
      peer.close()
    }
    expect(openFdCount()).toBe(before)
  })

  it('ends when a reply does not come in time', async () => {
    const { connection, peer, reasons } = connect(20)
    await expect(connection.ask(Request.GET_VRING_BASE, u64(0))).rejects.toMatchObject({
      code: 'vhost-user.timeout',
      details: { detail: { request: 'GET_VRING_BASE' } },
    })
    expect(reasons).toMatchObject([{ code: 'vhost-user.timeout' }])
    await until(() => peer.ended)
  })

  it('P7 takes a reply that came in time, though this thread had no time to look', async () => {
    const { connection, peer } = connect(50)
    const asked = connection.ask(Request.GET_STATUS, EMPTY)
    await until(() => peer.received.length === 1)
    // From there timers are next, and sockets after them.
    await new Promise((resolve) => setImmediate(resolve))
    peer.send(reply(Request.GET_STATUS, u64(15)))
    const end = performance.now() + 100
    while (performance.now() < end);
    expect((await asked).payload).toEqual(u64(15))
    expect(connection.ended).toBe(undefined)
  })

  it('ends when nobody reads what it sends', async () => {
    const [ours, theirs] = socketPair()
    const connection = new VhostUserConnection(ours, { path: '/socket', timeout: 30 })
    connections.push(connection)
    const flood = async (): Promise<void> => {
      for (;;) await connection.send(Request.SET_CONFIG, new Uint8Array(4000))
    }
    await expect(flood()).rejects.toMatchObject({ code: 'vhost-user.timeout' })
    close(theirs)
  })

  it('fails requests that are under way or wait when it is closed, and tells nobody', async () => {
    const { connection, peer, reasons } = connect()
    const asked = [1, 2].map(() => connection.ask(Request.GET_FEATURES, EMPTY).catch((error: unknown) => error))
    await until(() => peer.received.length === 1)
    connection.close()
    connection.close()
    for (const one of asked) expect(await one).toMatchObject({ code: 'vhost-user.disconnected' })
    expect(reasons).toEqual([])
  })
})
