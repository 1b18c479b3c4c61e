import { close, eventfd, openFdCount, socketPair } from '@virtio-ts/native'
import { describe, expect, it } from 'vitest'
import { NetModel } from '../net/net-model.ts'
import { RngModel } from '../rng-model.ts'
import { connections, PROTOCOL, VERSION_1 } from './connected.fixture.ts'
import { hostileSession, sessionMisdeedKinds } from './hostile-session.ts'
import { joined, type RawReply, until, words32, words64 } from './raw-front-end.fixture.ts'
import type { SessionMisdeedKind } from './session-misdeeds.ts'

describe('hostileSession', () => {
  const connect = connections()

  /** Header words and payload of the answer to GET_FEATURES. */
  function shape({ request, flags, payload, fds }: RawReply): unknown {
    for (const fd of fds) close(fd)
    return [request, flags, payload.byteLength, fds.length]
  }

  it.each<[SessionMisdeedKind, number | undefined, unknown]>([
    ['wrong-request', undefined, [2, 5, 8, 0]],
    ['wrong-request', 77, [77, 5, 8, 0]],
    ['no-reply-flag', undefined, [1, 1, 8, 0]],
    ['wrong-version', undefined, [1, 6, 8, 0]],
    ['wrong-version', 0, [1, 4, 8, 0]],
    ['size-zero', undefined, [1, 5, 0, 0]],
    ['short-payload', undefined, [1, 5, 7, 0]],
    ['long-payload', 100, [1, 5, 108, 0]],
    ['extra-fds', undefined, [1, 5, 8, 1]],
    ['extra-fds', 253, [1, 5, 8, 253]],
  ])('%s (%s)', async (kind, value, expected) => {
    const profile = hostileSession(value === undefined ? { kind } : { kind, value })
    const { mine } = connect(new RngModel(), { sessionProfile: profile })
    mine.send(1)
    expect(shape((await mine.reply())!)).toEqual(expected)
    expect(profile.done).toBe(1)
    expect(shape(await mine.ask(1))).toEqual([1, 5, 8, 0])
  })

  it('says there is more than there is, and leaves bytes behind', async () => {
    const profile = hostileSession([
      { kind: 'trailing-bytes', value: 3 },
      { kind: 'size-huge', after: 1 },
    ])
    const { mine } = connect(new RngModel(), { sessionProfile: profile })
    expect((await mine.ask(1)).payload.byteLength).toBe(8)
    const { receiveWithFds } = await import('@virtio-ts/native')
    expect(receiveWithFds(mine.fd, 100, 0)?.bytes).toHaveLength(3)
    mine.send(1)
    await until(() => mine.readable, 'an answer')
    const bytes = receiveWithFds(mine.fd, 100, 0)?.bytes
    expect([...(bytes ?? [])].slice(0, 12)).toEqual([...words32(1, 5, 0xffffffff)])
    expect(bytes).toHaveLength(20)
  })

  it('answers for another part of the configuration than it was asked for', async () => {
    const { mine } = connect(new NetModel(), {
      sessionProfile: hostileSession([
        { kind: 'config-length', request: 24, value: 4 },
        { kind: 'config-offset', request: 24, after: 1, value: 2 },
      ]),
    })
    await mine.begin(VERSION_1, PROTOCOL.CONFIG)
    const asked = joined(words32(0, 6, 0), new Uint8Array(6))
    const words = ({ payload }: RawReply): number[] => [
      payload.getUint32(0, true),
      payload.getUint32(4, true),
      payload.byteLength,
    ]
    expect(words(await mine.ask(24, asked))).toEqual([0, 10, 18])
    expect(words(await mine.ask(24, asked))).toEqual([2, 6, 18])
    expect(words(await mine.ask(24, asked))).toEqual([0, 6, 18])
  })

  it.each<[SessionMisdeedKind, number]>([
    ['close-before', 0],
    ['close-unanswered', 0],
    ['close-after', 1],
  ])('%s: closes at a boundary between messages', async (kind, replies) => {
    const { mine, backEnd } = connect(new RngModel(), { sessionProfile: hostileSession({ kind, request: 15 }) })
    await mine.ask(1)
    mine.send(15)
    for (let n = 0; n < replies; n++) expect((await mine.reply())?.request).toBe(15)
    expect(await mine.reply()).toBeUndefined()
    expect(backEnd.session).toBeUndefined()
  })

  it('closes on connecting', async () => {
    const { mine } = connect(new RngModel(), { sessionProfile: hostileSession({ kind: 'close-on-connect' }) })
    expect(await mine.reply()).toBeUndefined()
  })

  it.each([0, 1, 11, 12, 13, 25])('closes after %i bytes of the front-end', async (closeAfterReading) => {
    const { mine } = connect(new RngModel(), { sessionProfile: hostileSession([], { closeAfterReading }) })
    mine.send(1)
    mine.send(15)
    mine.send(17)
    let replies = 0
    while (await mine.reply().catch(() => undefined)) replies++
    expect(replies).toBe(Math.floor(closeAfterReading / 12))
  })

  it.each([0, 1, 12, 19, 20, 21, 39])('closes after %i bytes of its own', async (closeAfterSending) => {
    const { mine } = connect(new RngModel(), { sessionProfile: hostileSession([], { closeAfterSending }) })
    mine.send(1)
    mine.send(15)
    const { read } = await import('@virtio-ts/native')
    let bytes = 0
    for (;;) {
      await until(() => mine.readable, 'something')
      // The end of the stream, or ECONNRESET where the back-end left something unread.
      const part = read(mine.fd, new Uint8Array(100))
      if (part <= 0) break
      bytes += part
    }
    expect(bytes).toBe(closeAfterSending)
  })

  it('passes over a message, or does what it says in silence', async () => {
    const { mine, backEnd } = connect(new RngModel(), {
      sessionProfile: hostileSession([
        { kind: 'ignore', request: 8 },
        { kind: 'silent', request: 11 },
      ]),
    })
    await mine.begin(VERSION_1, 0n)
    mine.split(0, 4)
    mine.send(11, words32(0, 0))
    await mine.barrier()
    expect(backEnd.session?.device.queues[0]?.size).toBeUndefined()
    expect(backEnd.session?.device.queues[0]?.listening).toBe(false)
  })

  it('fails where it succeeded, and answers what nobody asked', async () => {
    const { mine } = connect(new RngModel(), {
      sessionProfile: hostileSession([
        { kind: 'other-payload', request: 3, value: 1 },
        { kind: 'unasked-reply', request: 15 },
      ]),
    })
    await mine.ask(1)
    await mine.askNumber(15)
    expect((await mine.reply())?.request).toBe(1)
    mine.send(16, words64(PROTOCOL.REPLY_ACK))
    expect(await mine.acknowledged(3)).toBe(0x0101010101010101n)
  })

  it('cannot cut off memory that is sealed, and keeps it when the session is over', async () => {
    const profile = hostileSession([
      { kind: 'truncate-memory', request: 5 },
      { kind: 'keep-memory', request: 5 },
    ])
    const { mine, backEnd } = connect(new RngModel(), { sessionProfile: profile })
    await mine.begin(VERSION_1, 0n)
    const buffer = mine.dma.allocate(8)
    await mine.barrier()
    expect(profile.truncations).toEqual(['EPERM'])
    backEnd.disconnect()
    expect(profile.scribble(0xab)).toBe(mine.length)
    expect([...buffer.bytes]).toEqual(Array(8).fill(0xab))
    profile.release()
    expect(profile.scribble(1)).toBe(0)
    expect(buffer.bytes[0]).toBe(0xab)
  })

  it('notifies for nothing, of used buffers and of errors', async () => {
    const { mine } = connect(new NetModel(), {
      sessionProfile: hostileSession([
        { kind: 'signal-used', request: 17 },
        { kind: 'signal-error', request: 17, value: 1 },
      ]),
    })
    await mine.begin(VERSION_1, 0n)
    for (let n = 0; n < 3; n++) mine.split(n, 4)
    await mine.askNumber(17)
    await mine.barrier()
    expect(mine.usedFds.map((fd) => mine.signals(fd))).toEqual([1, 1, 1])
    expect(mine.errorFds.map((fd) => mine.signals(fd))).toEqual([0, 1, 0])
  })

  it('sends requests of its own that nobody agreed on, descriptors with them, and rubbish', async () => {
    const spare = eventfd()
    const { mine } = connect(new RngModel(), {
      sessionProfile: hostileSession([
        { kind: 'back-end-request', request: 17 },
        { kind: 'back-end-request', request: 17, after: 1, value: 3, fds: [spare] },
        { kind: 'back-end-garbage', request: 17, after: 2, value: 5 },
      ]),
    })
    await mine.begin(VERSION_1, PROTOCOL.BACKEND_REQ)
    const [channel, theirs] = socketPair()
    mine.send(21, undefined, [theirs])
    close(theirs)
    const { receiveWithFds } = await import('@virtio-ts/native')
    const next = async (): Promise<unknown> => {
      await mine.askNumber(17)
      await mine.barrier()
      const part = receiveWithFds(channel, 100, 8)
      for (const fd of part?.fds ?? []) close(fd)
      return [part?.bytes[0], part?.bytes.length, part?.fds.length]
    }
    expect([await next(), await next(), await next()]).toEqual([
      [2, 12, 0],
      [3, 36, 1],
      [255, 5, 0],
    ])
    close(channel)
    close(spare)
  })

  it('leaves no descriptor behind over thousands of replies with descriptors', async () => {
    const { mine } = connect(new RngModel(), {
      sessionProfile: hostileSession({ kind: 'extra-fds', value: 4, times: 2000 }),
    })
    const before = openFdCount()
    for (let n = 0; n < 2000; n++) shape(await mine.ask(1))
    expect(openFdCount()).toBe(before)
  })

  it('knows its misdeeds by name', () => {
    expect(sessionMisdeedKinds).toHaveLength(25)
  })
})
