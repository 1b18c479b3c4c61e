import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { close, duplicate, eventfd, memfdCreate, openFdCount, truncate } from '@virtio-ts/native'
import { describe, expect, it } from 'vitest'
import { NetModel } from '../net/net-model.ts'
import { RngModel } from '../rng-model.ts'
import { connections, PROTOCOL, RING_PACKED, VERSION_1 } from './connected.fixture.ts'
import { joined, rawMessage, type RawFrontEnd, settle, until, words32, words64 } from './raw-front-end.fixture.ts'
import { strictSession } from './strict-session.ts'

const ALL = PROTOCOL.REPLY_ACK | PROTOCOL.CONFIGURE_MEM_SLOTS | PROTOCOL.STATUS | PROTOCOL.INFLIGHT_SHMFD
const region = (guest: number | bigint, size: number | bigint, user: number | bigint, offset: number | bigint = 0) =>
  words64(guest, size, user, offset)
const table = (count: number, ...regions: Uint8Array[]) => joined(words32(count, 0), ...regions)
const inFlight = (queues: number, size: number, length: number | bigint = 0) =>
  joined(words64(length, 0), Uint8Array.of(queues & 255, queues >> 8, size & 255, size >> 8))

describe('a front-end against the protocol', () => {
  const connect = connections()
  const texts = (backEnd: { violations: readonly { text: string }[] }) => backEnd.violations.map(({ text }) => text)

  /** One descriptor of a memory file of 64 KiB. */
  function withFile<T>(use: (fd: number) => T): T {
    const fd = memfdCreate('region')
    truncate(fd, 65536)
    const done = (): void => close(fd)
    const result = use(fd)
    if (result instanceof Promise) return result.finally(done) as T
    done()
    return result
  }

  it.each<[string, number, Uint8Array, number, string]>([
    ['SET_VRING_NUM that is no power of two', 8, words32(0, 3), 0, 'no ring has a size of 3'],
    ['SET_VRING_NUM of 0', 8, words32(0, 0), 0, 'no ring has a size of 0'],
    ['SET_VRING_NUM beyond 32768', 8, words32(0, 65536), 0, 'no ring has a size of 65536'],
    ['a queue the device does not have', 8, words32(1, 8), 0, 'queue 1 of a device with 1 queues'],
    ['a queue index of 32 bits', 8, words32(0xffffffff, 8), 0, 'queue 4294967295 of a device'],
    ['a short payload', 8, words32(0), 0, 'SET_VRING_NUM with a payload of 4 bytes'],
    ['a long payload', 8, words32(0, 8, 0), 0, 'SET_VRING_NUM with a payload of 12 bytes'],
    ['a descriptor nobody wants', 8, words32(0, 8), 1, 'SET_VRING_NUM with 1 descriptors'],
    ['253 descriptors nobody wants', 8, words32(0, 8), 253, 'SET_VRING_NUM with 253 descriptors'],
    [
      'SET_VRING_ADDR outside the regions',
      9,
      joined(words32(0, 0), words64(0x1000, 0x2000, 0x3000, 0)),
      0,
      'descriptorArea at user address 0x1000 is in no memory region',
    ],
    [
      'SET_VRING_ADDR of guest addresses',
      9,
      joined(words32(0, 0), words64(0x40000000, 0x40001000, 0x40002000, 0)),
      0,
      'descriptorArea at user address 0x40000000 is in no memory region',
    ],
    [
      'SET_VRING_ADDR beyond 2^64',
      9,
      joined(words32(0, 0), words64(-1, -1, -1, 0)),
      0,
      'user address 0xffffffffffffffff',
    ],
    ['SET_VRING_KICK without a descriptor', 12, words64(0), 0, 'no descriptor'],
    ['SET_VRING_KICK with one and the flag for none', 12, words64(0x100), 1, 'the flag that there is none'],
    ['SET_VRING_CALL of no queue', 13, words64(7), 1, 'queue 7 of a device with 1 queues'],
    ['SET_VRING_CALL with two descriptors', 13, words64(0), 2, 'SET_VRING_CALL with 2 descriptors'],
    ['SET_VRING_ENABLE with 2', 18, words32(0, 2), 0, 'SET_VRING_ENABLE with 2'],
    [
      'SET_MEM_TABLE with a descriptor too few',
      5,
      table(2, region(0, 4096, 0), region(4096, 4096, 4096)),
      1,
      '2 regions and 1 descriptors',
    ],
    ['SET_MEM_TABLE with more regions than payload', 5, table(3, region(0, 4096, 0)), 1, '3 regions in 40 bytes'],
    [
      'SET_MEM_TABLE with 2^32 - 1 regions',
      5,
      table(0xffffffff, region(0, 4096, 0)),
      1,
      '4294967295 regions in 40 bytes',
    ],
    ['a region of no bytes', 37, joined(words64(0), region(0, 0, 0)), 1, 'it is empty'],
    ['a region that is no file', 37, joined(words64(0), region(0, 4096, 0)), 1, 'its descriptor is no file'],
    ['SET_STATUS of more than 8 bits', 39, words64(256), 0, 'a device status of 0x100'],
    ['SET_INFLIGHT_FD of no file', 32, inFlight(1, 8, 192), 1, 'beyond the end of its file'],
    ['SET_INFLIGHT_FD of too few bytes', 32, inFlight(1, 8, 100), 1, 'of 100 bytes for 1 queues of 8'],
    ['SET_INFLIGHT_FD of more queues than there are', 32, inFlight(9, 8, 4096), 1, 'an area for 9 queues of 8'],
    ['a request nobody knows', 99, new Uint8Array(0), 0, 'request 99, which this back-end does not know or offer'],
    ['a request nobody knows, with descriptors', 0, new Uint8Array(100), 5, 'request 0, which this'],
    [
      'a request that was not offered',
      24,
      joined(words32(0, 4, 0), new Uint8Array(4)),
      0,
      'GET_CONFIG, which this back-end does not know or offer',
    ],
    ['SET_OWNER again', 3, new Uint8Array(0), 0, 'SET_OWNER a second time'],
  ])('%s is refused and recorded, and the session goes on', async (name, request, payload, count, text) => {
    const { mine, backEnd } = connect(new RngModel())
    await mine.begin(VERSION_1, ALL)
    await mine.barrier()
    const before = openFdCount()
    const fds = Array.from({ length: count }, () => duplicate(mine.fd))
    const [event] = fds
    expect(await mine.acknowledged(request, payload, fds)).toBe(name === 'SET_OWNER again' ? 0n : 1n)
    for (const fd of fds) close(fd)
    expect(event === undefined || openFdCount() === before).toBe(true)
    expect(texts(backEnd)).toEqual([expect.stringContaining(text)])
    // Without need_reply there is no answer.
    mine.send(request, payload, [])
    await mine.barrier()
    expect(openFdCount()).toBe(before)
  })

  it.each<[string, number | bigint, number | bigint, number | bigint, number | bigint, string]>([
    ['longer than its file', 0, 65537, 0, 0, 'its file ends at 65536'],
    ['beyond its file by its offset', 0, 4096, 0, 65536, 'its file ends at 65536'],
    ['with an offset that wraps', 0, 4096, 0, -4096, 'its offset 18446744073709547520 leads nowhere'],
    ['with a size that wraps', 4096, -1, 0, 0, 'two memory regions overlap at guestAddress 0x1000'],
    ['beyond what a number holds', 2n ** 60n, 4096, 0, 0, 'its end is beyond 2^53'],
    ['with a guest address that wraps', -4096, 8192, 0, 0, 'its end is beyond 2^53'],
    ['with a user address that wraps', 0, 8192, -4096, 0, 'its user address 0xfffffffffffff000 wraps'],
    [
      'over another one in guest addresses',
      0x4000_0000 + 4096,
      4096,
      0,
      0,
      'two memory regions overlap at guestAddress',
    ],
    [
      'over another one in user addresses',
      0,
      4096,
      0x7f00_1234_0000 - 1,
      0,
      'two memory regions overlap at userAddress',
    ],
  ])('a region %s is refused, and the table stays', async (_name, guest, size, user, offset, text) => {
    const { mine, backEnd } = connect(new RngModel())
    await mine.begin(VERSION_1, ALL)
    await withFile(async (fd) => {
      const bytes = region(guest, size, user, offset)
      expect(await mine.acknowledged(37, joined(words64(0), bytes), [fd])).toBe(1n)
      expect(await mine.acknowledged(5, table(2, region(0x4000_0000, 8192, 0x7f00_1234_0000), bytes), [fd, fd])).toBe(
        1n,
      )
      expect(texts(backEnd)[0]).toContain(text)
      expect(backEnd.session?.device.table.regions).toMatchObject([{ guestAddress: 0x4000_0000n, size: 1n << 20n }])
    })
  })

  it('a region may begin anywhere in its file', async () => {
    const { mine, backEnd } = connect(new RngModel({ source: (into) => into.fill(9) }))
    await mine.begin(VERSION_1, ALL)
    await withFile(async (fd) => {
      expect(await mine.acknowledged(37, joined(words64(0), region(0x1000, 100, 0x5000, 8197)), [fd])).toBe(0n)
      const device = backEnd.session?.device
      expect(device?.table.toDeviceAddress(0x5063n)).toBe(0x1063)
      expect(device?.table.toDeviceAddress(0x5064n)).toBeUndefined()
      device?.core.memory.bytes(0x1000, 100)?.fill(3)
      const bytes = new Uint8Array(102)
      const { readAt } = await import('@virtio-ts/native')
      readAt(fd, bytes, 8196)
      expect([bytes[0], bytes[1], bytes[100], bytes[101]]).toEqual([0, 3, 3, 0])
    })
  })

  it('no more regions than there are slots', async () => {
    const { mine, backEnd } = connect(new RngModel(), { memorySlots: 3 })
    await mine.begin(VERSION_1, ALL)
    const before = openFdCount()
    await withFile(async (fd) => {
      const answers: bigint[] = []
      for (let n = 0; n < 4; n++)
        answers.push(await mine.acknowledged(37, joined(words64(0), region(n * 65536, 65536, n * 65536)), [fd]))
      expect(answers).toEqual([0n, 0n, 1n, 1n])
    })
    expect(openFdCount()).toBe(before)
    expect(texts(backEnd)).toEqual(['ADD_MEM_REG: 4 memory regions, where 3 are possible'])
  })

  it.each<[string, (mine: RawFrontEnd) => void, string]>([
    ['SET_FEATURES before GET_FEATURES', (mine) => mine.send(2, words64(0)), 'SET_FEATURES before SET_OWNER'],
    ['a ring before SET_OWNER', (mine) => mine.send(8, words32(0, 8)), 'SET_VRING_NUM before SET_OWNER'],
    [
      'protocol features unasked',
      (mine) => mine.send(16, words64(0)),
      'SET_PROTOCOL_FEATURES before GET_PROTOCOL_FEATURES',
    ],
    ['protocol features before features', (mine) => mine.send(15), 'GET_PROTOCOL_FEATURES before GET_FEATURES'],
    [
      'need_reply that was not agreed on',
      (mine) => mine.send(3, undefined, [], 9),
      'SET_OWNER wants an acknowledgement',
    ],
    ['the flag of a reply', (mine) => mine.send(3, undefined, [], 5), 'SET_OWNER with the flag of a reply'],
    ['flags nobody knows', (mine) => mine.send(3, undefined, [], 0x11), 'SET_OWNER with flags 0x11'],
    ['a status without STATUS', (mine) => mine.send(40), 'GET_STATUS without STATUS'],
    ['two owners', (mine) => [mine.send(3), mine.send(3)], 'SET_OWNER a second time'],
  ])('%s is recorded by an honest back-end, and ends the session of a strict one', async (_name, act, text) => {
    const lenient = connect(new RngModel())
    act(lenient.mine)
    lenient.mine.send(1)
    while ((await lenient.mine.reply())?.request !== 1);
    expect(texts(lenient.backEnd)[0]).toContain(text)
    const judge = connect(new RngModel(), { sessionProfile: strictSession() })
    act(judge.mine)
    await until(() => judge.backEnd.session === undefined, 'the session is over')
    expect(texts(judge.backEnd)[0]).toContain(text)
  })

  it('bit 30 left out with protocol features, or put in without', async () => {
    const { mine, backEnd } = connect(new RngModel())
    await mine.begin(VERSION_1, PROTOCOL.MQ)
    mine.send(2, words64(VERSION_1))
    await mine.barrier()
    expect(texts(backEnd)).toEqual(['protocol features were accepted, but not bit 30 of the features'])
    const plain = connect(new RngModel(), { protocolFeatures: false })
    await plain.mine.begin(VERSION_1 | (1n << 30n))
    plain.mine.send(18, words32(0, 1))
    plain.mine.send(15)
    await plain.mine.barrier().catch(() => undefined)
    expect(texts(plain.backEnd)[0]).toBe('bit 30 of the features was accepted and never offered')
  })

  it('features and protocol features that were not offered', async () => {
    const { mine, backEnd } = connect(new RngModel())
    await mine.begin(VERSION_1 | (1n << 5n), PROTOCOL.MQ | (1n << 40n))
    await mine.barrier()
    expect(texts(backEnd)).toEqual([
      'accepted protocol features that were not offered: 0x10000000000',
      expect.stringContaining('accepted what was not offered'),
    ])
  })

  it('a ring that is started before it is described', async () => {
    const { mine, backEnd } = connect(new RngModel(), { ringFeatures: { RING_PACKED: true } })
    await mine.askNumber(1)
    mine.send(3)
    mine.setFds(0)
    mine.notify(0)
    await until(() => mine.signals(mine.errorFds[0]) > 0, 'error')
    expect(texts(backEnd)).toEqual(['queue 0 is to be started before SET_FEATURES, SET_VRING_NUM, SET_VRING_ADDR'])
    mine.send(2, words64(VERSION_1 | RING_PACKED))
    mine.setFds(0)
    await mine.barrier()
    expect(texts(backEnd)[1]).toBe('queue 0 is to be started before SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE')
  })

  it('size and base of a ring in use', async () => {
    const { mine, backEnd } = connect(new RngModel())
    await mine.begin(VERSION_1, PROTOCOL.REPLY_ACK)
    mine.split(0, 4)
    mine.notify(0)
    await until(() => backEnd.session?.device.queues[0]?.started === true, 'started')
    expect(await mine.acknowledged(8, words32(0, 8))).toBe(1n)
    expect(await mine.acknowledged(10, words32(0, 0))).toBe(1n)
    expect(texts(backEnd)).toEqual([
      'SET_VRING_NUM: queue 0: SET_VRING_NUM while its ring is started',
      'SET_VRING_BASE: queue 0: SET_VRING_BASE while its ring is started',
    ])
  })

  it.each([
    ['that goes beyond its region', 8190],
    ['in a region that is taken away while it runs', 0],
  ])('a ring %s is an error, and nothing more', async (_name, shift) => {
    const { mine, backEnd } = connect(new RngModel())
    await mine.begin(VERSION_1, PROTOCOL.REPLY_ACK)
    const queue = mine.split(0, 4)
    if (shift > 0) {
      const at = mine.userBase + mine.length - 16
      mine.send(9, joined(words32(0, 0), words64(at, at, at, 0)))
    } else {
      mine.notify(0)
      await until(() => backEnd.session?.device.queues[0]?.started === true, 'started')
      mine.send(5, table(0))
    }
    queue.offer(0)
    mine.notify(0)
    await settle()
    await mine.barrier()
    expect(backEnd.violations.length).toBeGreaterThan(0)
    if (shift > 0) expect(mine.signals(mine.errorFds[0])).toBeGreaterThan(0)
    expect(queue.takeUsed()).toEqual([])
  })

  it.each<[string, Uint8Array]>([
    ['of version 2', rawMessage(1, undefined, 2)],
    ['of no version', rawMessage(1, undefined, 0)],
    ['longer than any', words32(1, 1, 4097)],
    ['of 2^32 - 1 bytes', words32(1, 1, 0xffffffff)],
    ['GET_FEATURES with a payload', rawMessage(1, words64(0))],
    ['GET_VRING_BASE of no queue', rawMessage(11, words32(3, 0))],
    ['in-band notifications without the rest', rawMessage(16, words64(PROTOCOL.INBAND_NOTIFICATIONS))],
  ])('a message %s ends the session', async (_name, bytes) => {
    const { mine, backEnd } = connect(new RngModel(), { protocolFeatures: { INBAND_NOTIFICATIONS: true } })
    await mine.begin(VERSION_1)
    mine.sendBytes(bytes)
    expect(await mine.reply()).toBeUndefined()
    expect(backEnd.session).toBeUndefined()
    if (bytes.length !== 12 || bytes[0] !== 1) expect(texts(backEnd)).not.toEqual([])
  })

  it('descriptors that cannot be notified through', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtio-ts-descriptors-'))
    const file = openSync(join(folder, 'file'), 'w+')
    const { mine, backEnd } = connect(new NetModel())
    await mine.begin(VERSION_1, PROTOCOL.REPLY_ACK | PROTOCOL.BACKEND_REQ)
    expect(await mine.acknowledged(12, words64(0), [file])).toBe(1n)
    expect(await mine.acknowledged(21, undefined, [file])).toBe(1n)
    expect(texts(backEnd).filter((text) => text.includes('EPERM'))).toHaveLength(2)
    const queue = mine.split(0, 4)
    mine.send(13, words64(0), [file])
    queue.offer(0)
    mine.notify(0)
    await mine.barrier()
    closeSync(file)
    rmSync(folder, { recursive: true })
  })

  it('a stream cut anywhere, or of anything, costs the session and nothing more', async () => {
    let seed = 42
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      return Math.floor((seed / 2 ** 32) * below)
    }
    const spare = eventfd()
    for (let round = 0; round < 150; round++) {
      const { mine, backEnd } = connect(new NetModel({ queueSizes: [8, 8, 8] }))
      await mine.begin(VERSION_1, PROTOCOL.REPLY_ACK | PROTOCOL.CONFIG | PROTOCOL.INFLIGHT_SHMFD | PROTOCOL.STATUS)
      for (let n = 0; n < 3; n++) mine.split(n, 8)
      try {
        for (let n = 0; n < 40; n++) {
          const request = random(42)
          const length = [0, 8, 8, 8, 12, 24, 32, 40, 40, 72, random(300)][random(11)] ?? 0
          const payload = Uint8Array.from({ length }, () => [0, 0, 0, 1, 2, 255, random(256)][random(7)] ?? 0)
          const fds = Array.from({ length: random(3) }, () => [spare, mine.file, mine.fd][random(3)] ?? spare)
          mine.sendBytes(rawMessage(request, payload, random(10) === 0 ? random(32) : 1 + 8 * random(2)), fds)
          mine.notify(random(3))
          if (random(8) === 0) await new Promise((resolve) => setImmediate(resolve))
        }
        mine.sendBytes(words32(1, 1, 8).subarray(0, 1 + random(12)))
      } catch {
        // Closed by the back-end.
      }
      await settle()
      mine.hangUp()
      await until(() => backEnd.session === undefined, 'the session is over')
    }
    close(spare)
  })
})
