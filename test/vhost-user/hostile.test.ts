import {
  hostileSession,
  type SessionMisdeed,
  type SessionMisdeedKind,
  strictSession,
  type VhostUserProfile,
  type VhostUserOptions as BackEndOptions,
} from '@virtio-ts/device-models'
import { NetDriver } from '@virtio-ts/driver-net'
import { eventfd, close, openFdCount } from '@virtio-ts/native'
import { isVirtioError } from '@virtio-ts/spec'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HostileBench, type Recording, recorder, until } from './hostile-bench.ts'

let bench: HostileBench
beforeEach(() => {
  bench = new HostileBench()
})
afterEach(() => bench.close())

/** Back-ends as there are: all the protocol has, and what testpmd knows of it. */
const kinds: readonly (readonly [string, BackEndOptions])[] = [
  ['one with everything', { ringFeatures: { RING_PACKED: true } }],
  ['one like testpmd', { protocolFeatures: { CONFIG: false, INFLIGHT_SHMFD: false, CONFIGURE_MEM_SLOTS: false } }],
  ['one without protocol features', { protocolFeatures: false }],
]
/** GET_VRING_BASE: asked at the end, where a connection that breaks ends as well. */
const LAST = 11
const GET_CONFIG = 24
const GET_INFLIGHT_FD = 31

/** Whether a reply damaged like that may be a good one, or come too late to matter. */
function isTolerable(kind: SessionMisdeedKind, request: number, value: number | undefined): boolean {
  if (['other-payload', 'trailing-bytes', 'unasked-reply'].includes(kind) || request === LAST) return true
  // No payload: a refusal. 20 bytes: without what C pads the structure with.
  return (
    (kind === 'size-zero' && request === GET_CONFIG) ||
    (kind === 'short-payload' && request === GET_INFLIGHT_FD && value === 4)
  )
}

/** What a connection may end with, and nothing else. */
const ENDS = ['device.gone', 'vhost-user.disconnected', 'device.reset-timeout']
const FAULTS = ['device.gone', 'vhost-user.protocol', 'vhost-user.disconnected', 'vhost-user.refused', 'fine']

async function record(options: BackEndOptions): Promise<Recording> {
  const profile = recorder()
  bench.serve({ ...options, sessionProfile: profile })
  await bench.live()
  return profile.recording
}

/** The life that a back-end's misdeed spoils, and the one after it, which is fine. */
async function spoiled(options: BackEndOptions, profile: VhostUserProfile): Promise<string> {
  bench.serve({ ...options, sessionProfile: profile })
  const outcome = await bench.outcome()
  bench.serve(options)
  expect(await bench.outcome()).toBe('fine')
  return outcome
}

describe.each(kinds)('a front-end before a back-end, %s', (_name, options) => {
  it('keeps to the protocol under the strictest', async () => {
    const backEnd = bench.serve({ ...options, sessionProfile: strictSession() })
    await bench.live()
    await bench.live()
    expect(backEnd.violations).toEqual([])
    expect(await bench.leaked()).toBe(0)
  })

  it.each(['close-before', 'close-unanswered', 'close-after'] as const)(
    'ends with an error of its own wherever between messages the socket closes: %s',
    async (kind) => {
      const { requests, answered } = await record(options)
      const boundaries = kind === 'close-unanswered' ? answered.length : requests.length
      expect(boundaries).toBeGreaterThan(kind === 'close-unanswered' ? 3 : 20)
      for (let after = 0; after < boundaries; after++) {
        const profile = hostileSession({ kind, after })
        const outcome = await spoiled(options, profile)
        expect([profile.done, after, outcome]).toEqual([
          1,
          after,
          expect.stringMatching(RegExp([...ENDS, 'fine'].join('|'))),
        ])
        // Before the queues are at work nothing can be fine without the back-end.
        if (after < boundaries / 2) expect([after, outcome]).not.toEqual([after, 'fine'])
      }
      expect(await bench.leaked()).toBe(0)
    },
  )

  it('ends with an error of its own wherever in its messages the socket closes', async () => {
    const { read } = await record(options)
    for (let at = 0; at < read; at += 37) {
      const outcome = await spoiled(options, hostileSession([], { closeAfterReading: at }))
      expect([at, outcome]).toEqual([at, expect.stringMatching(RegExp([...ENDS, 'fine'].join('|')))])
    }
    expect(await bench.leaked()).toBe(0)
  })

  it('ends with an error of its own wherever in the replies the socket closes', async () => {
    const { sent } = await record(options)
    for (let at = 0; at < sent; at += sent > 400 ? 31 : 3) {
      const outcome = await spoiled(options, hostileSession([], { closeAfterSending: at }))
      expect([at, outcome]).toEqual([at, expect.stringMatching(RegExp([...ENDS, 'fine'].join('|')))])
    }
    expect(await bench.leaked()).toBe(0)
  })

  it.each<[SessionMisdeedKind, number | undefined]>([
    ['wrong-request', undefined],
    ['wrong-request', 0],
    ['no-reply-flag', undefined],
    ['wrong-version', 0],
    ['wrong-version', 3],
    ['size-zero', undefined],
    ['size-huge', undefined],
    ['size-huge', 4097],
    ['short-payload', 1],
    ['short-payload', 4],
    ['long-payload', 1],
    ['long-payload', 4000],
    ['trailing-bytes', 1],
    ['trailing-bytes', 40],
    ['other-payload', 0xff],
    ['other-payload', 0],
    ['unasked-reply', undefined],
  ])('takes no reply that is %s (%s), to whatever request', async (kind, value) => {
    const { answered } = await record(options)
    const requests = [...new Set(answered)]
    for (const request of requests) {
      const profile = hostileSession(value === undefined ? { kind, request } : { kind, request, value })
      const outcome = await spoiled(options, profile)
      expect([profile.done, request, outcome]).toEqual([
        1,
        request,
        expect.stringMatching(/^[a-z-]+\.[a-z0-9-]+$|^fine$/),
      ])
      if (!isTolerable(kind, request, value)) expect([request, outcome]).not.toEqual([request, 'fine'])
    }
    expect(await bench.leaked()).toBe(0)
  })

  it.each([1, 7, 253])('closes %i descriptors that come with each reply', async (value) => {
    const { answered } = await record(options)
    for (const request of new Set(answered)) {
      const profile = hostileSession({ kind: 'extra-fds', request, value, times: 1000 })
      bench.serve({ ...options, sessionProfile: profile })
      const outcome = await bench.outcome()
      expect([request, outcome]).toEqual([request, expect.stringMatching(RegExp(FAULTS.join('|')))])
      expect(profile.done).toBeGreaterThan(0)
    }
    expect(await bench.leaked()).toBe(0)
  })

  it.each(['ignore', 'silent'] as const)('waits for no answer for ever: %s', async (kind) => {
    const { answered } = await record(options)
    for (const request of new Set(answered)) {
      const profile = hostileSession({ kind, request })
      const outcome = await spoiled(options, profile)
      expect(profile.done).toBe(1)
      expect([request, outcome]).toEqual([
        request,
        expect.stringMatching(/vhost-user\.timeout|device\.gone|device\.reset-timeout/),
      ])
    }
    expect(await bench.leaked()).toBe(0)
  })
})

describe('a front-end', () => {
  it.each([-1, 1, 4, 1000])('takes no configuration of another length (%i more)', async (value) => {
    const outcome = await spoiled({}, hostileSession({ kind: 'config-length', request: 24, value }))
    expect(outcome).toBe('vhost-user.protocol')
  })

  it.each([1, 6, 1000])('takes no configuration of another place (%i further)', async (value) => {
    const outcome = await spoiled({}, hostileSession({ kind: 'config-offset', request: 24, value }))
    expect(outcome).toBe('vhost-user.protocol')
  })

  it('closes descriptors over ten thousand messages', async () => {
    bench.serve({ sessionProfile: hostileSession({ kind: 'extra-fds', value: 3, request: 40, times: 1e6 }) })
    const transport = await bench.connect(5000)
    const before = openFdCount()
    for (let n = 0; n < 10_000; n++) await transport.status()
    expect(openFdCount()).toBe(before)
    await transport.close()
    expect(await bench.leaked()).toBe(0)
  })

  it('gives out memory that cannot be cut off', async () => {
    const profile = hostileSession([
      { kind: 'truncate-memory', request: 37, times: 9 },
      { kind: 'truncate-memory', request: 5, times: 9 },
    ])
    bench.serve({ sessionProfile: profile })
    await bench.live()
    bench.serve({ protocolFeatures: { CONFIGURE_MEM_SLOTS: false }, sessionProfile: profile })
    await bench.live()
    expect(profile.truncations).toEqual(['EPERM', 'EPERM'])
  })

  it('is not reached by a back-end that writes when its session is over', async () => {
    const profile = hostileSession([
      { kind: 'keep-memory', request: 37 },
      { kind: 'close-before', request: 11 },
    ])
    bench.serve({ sessionProfile: profile })
    const transport = await bench.connect()
    const driver = await NetDriver.open(transport)
    const gone = new Promise<string>((resolve) => {
      driver.on('fault', ({ code }) => resolve(code))
    })
    bench.serve()
    expect(await gone).toBe('device.gone')
    const again = await NetDriver.open(await bench.connect())
    expect(profile.scribble(0xff)).toBe(16 * 1024 * 1024)
    expect(again.send(new Uint8Array(64).fill(0xff, 0, 6))).toBe(true)
    expect(await again.drain()).toBe(0)
    profile.scribble(0xa5)
    expect(again.link.up).toBe(true)
    await driver.close()
    await again.close()
    await bench.live()
    profile.release()
    expect(await bench.leaked()).toBe(0)
  })

  it('gives up memory whose back-end never says that it has let go', async () => {
    const profile = hostileSession([
      { kind: 'silent', request: 11 },
      { kind: 'keep-memory', request: 37 },
    ])
    bench.serve({ sessionProfile: profile })
    const transport = await bench.connect()
    const driver = await NetDriver.open(transport)
    await expect(driver.close()).rejects.toMatchObject({ code: 'device.reset-timeout' })
    expect(transport.dma.stats.allocatedRegions).toBe(0)
    expect(() => transport.dma.allocate(64)).toThrow()
    profile.scribble(0xff)
    bench.serve()
    await bench.live()
    profile.release()
    expect(await bench.leaked()).toBe(0)
  })

  it('bears notifications for nothing', async () => {
    const backEnd = bench.serve({ sessionProfile: hostileSession({ kind: 'signal-used', times: 1e6 }) })
    const driver = await NetDriver.open(await bench.connect())
    for (let n = 0; n < 200; n++) {
      backEnd.session?.device.queues[n % 3]?.signalUsed()
      if (n % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(driver.send(new Uint8Array(64).fill(0xff, 0, 6))).toBe(true)
    expect(await driver.drain()).toBe(0)
    await driver.close()
    expect(await bench.leaked()).toBe(0)
  })

  it('takes an error descriptor that is signalled for a device that needs a reset', async () => {
    const backEnd = bench.serve()
    const driver = await NetDriver.open(await bench.connect())
    const fault = new Promise<string>((resolve) => {
      driver.on('fault', ({ code }) => resolve(code))
    })
    backEnd.session?.device.queues[1]?.signalError()
    expect(await fault).toBe('device.needs-reset')
    await driver.close()
    await bench.live()
    expect(await bench.leaked()).toBe(0)
  })

  it.each<[string, SessionMisdeed, boolean]>([
    ['a host notifier', { kind: 'back-end-request', value: 3 }, true],
    ['an address translation', { kind: 'back-end-request', value: 1 }, true],
    ['memory to be mapped', { kind: 'back-end-request', value: 9 }, true],
    ['a request nobody knows', { kind: 'back-end-request', value: 0xffffffff }, true],
    ['rubbish', { kind: 'back-end-garbage', value: 12 }, true],
    ['a piece of a message', { kind: 'back-end-garbage', value: 5 }, false],
    ['a change of configuration', { kind: 'back-end-request' }, false],
  ])('is asked on the back-end channel for %s', async (_name, misdeed, ends) => {
    const spare = eventfd()
    const profile = hostileSession({ ...misdeed, fds: [spare], request: 40, times: 5 })
    bench.serve({ sessionProfile: profile })
    const outcome = await bench.outcome()
    expect(profile.done).toBeGreaterThan(0)
    expect(outcome).toMatch(ends ? /device\.gone|vhost-user\.protocol/ : /fine/)
    bench.serve()
    await bench.live()
    close(spare)
    expect(await bench.leaked()).toBe(0)
  })

  it('is told of changes without end, and goes on', async () => {
    const backEnd = bench.serve()
    const driver = await NetDriver.open(await bench.connect())
    for (let n = 0; n < 500; n++) {
      backEnd.model.setLink(n % 2 === 1)
      if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    backEnd.model.setLink(false)
    await until(() => !driver.link.up, 'the link is down')
    await driver.close()
    expect(await bench.leaked()).toBe(0)
  })

  it('finds another device where it had been, and takes it for what it is', async () => {
    bench.serve({}, { mac: '02:00:00:00:00:01' })
    const first = await NetDriver.open(await bench.connect())
    const gone = new Promise((resolve) => first.on('fault', resolve))
    bench.serve(
      { protocolFeatures: { STATUS: false, INFLIGHT_SHMFD: false }, ringFeatures: { EVENT_IDX: false }, queueCount: 1 },
      { mac: '02:00:00:00:00:02', features: { CTRL_VQ: false, MRG_RXBUF: false, MTU: false } },
    )
    await gone
    const second = await NetDriver.open(await bench.connect())
    expect([first.mac[5], second.mac[5]]).toEqual([1, 2])
    expect([first.features.has('MRG_RXBUF'), second.features.has('MRG_RXBUF')]).toEqual([true, false])
    await first.close()
    await second.close()
    await bench.live()
    expect(await bench.leaked()).toBe(0)
  })

  it.each([0, 0xffff, 2 ** 40])('is told of %i queues', async (count) => {
    bench.serve({ queueCount: count })
    expect(await bench.outcome()).toMatch(/^fine$|^[a-z-]+\.[a-z-]+$/)
    bench.serve()
    await bench.live()
    expect(await bench.leaked()).toBe(0)
  })

  it('says with a code that nobody is there', async () => {
    const error: unknown = await bench.connect().catch((reason: unknown) => reason)
    expect(isVirtioError(error) && error.code).toBe('vhost-user.unreachable')
  })
})
