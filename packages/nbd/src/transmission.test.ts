import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MemoryDisk } from './memory-disk.fixture.ts'
import { NbdError } from './nbd-error.ts'
import { ServedDisk, until } from './served-disk.fixture.ts'

const SIZE = 1 << 20
const [READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZERO, STATUS] = [0, 1, 2, 3, 4, 5, 6, 7] as const
const [FUA, NO_HOLE, DF, REQ_ONE, FAST] = [1, 2, 4, 8, 16] as const
const [EPERM, EIO, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP] = [1, 5, 22, 28, 75, 95] as const

const noise = (length: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, i) => ((i * 31 + 7) & 0xff) | 1))

describe('requests', () => {
  let disk: MemoryDisk
  let served: ServedDisk
  beforeEach(async () => {
    disk = new MemoryDisk(SIZE)
    served = await ServedDisk.start([disk, new MemoryDisk(SIZE, { readOnly: true }, 'ro')])
  })
  afterEach(() => served[Symbol.asyncDispose]())

  it.each([true, false])('reads what was written, structured replies: %s', async (structured) => {
    const client = await served.open({ structured })
    const data = noise(70_001)
    expect(await client.errnoOf(WRITE, 513, data.length, { data })).toBe(0)
    const replies = await client.ask(READ, 512, data.length + 2)
    const bytes = structured ? Buffer.concat(replies.map(({ payload }) => payload.subarray(8))) : replies[0]?.payload
    expect(bytes?.equals(Buffer.concat([Buffer.alloc(1), data, Buffer.alloc(1)]))).toBe(true)
    expect(replies[0]?.kind).toBe(structured ? 'chunk' : 'simple')
  })

  it('sends stretches of zeroes as holes, unless the client wants one piece', async () => {
    const client = await served.open()
    const data = noise(16384)
    await client.write(32768, data)
    const sparse = await client.read(0, 131_072)
    expect(sparse.chunks).toEqual(['hole 32768', 'data 16384', 'hole 81920'])
    expect(sparse.bytes.equals(disk.bytes.subarray(0, 131_072))).toBe(true)
    const whole = await client.read(0, 131_072, DF)
    expect(whole.chunks).toEqual(['data 131072'])
    expect(whole.bytes.equals(disk.bytes.subarray(0, 131_072))).toBe(true)
    // A short one, all of zeroes.
    expect((await client.read(100, 1)).chunks).toEqual(['hole 1'])
  })

  it('hands every command on with its flags', async () => {
    const client = await served.open({ allocation: true })
    expect(await client.errnoOf(WRITE, 10, 3, { data: Buffer.from('abc'), flags: FUA })).toBe(0)
    expect(await client.errnoOf(FLUSH, 0, 0)).toBe(0)
    expect(await client.errnoOf(TRIM, 4096, 8192, { flags: FUA })).toBe(0)
    expect(await client.errnoOf(ZERO, 0, SIZE, { flags: NO_HOLE | FAST | FUA })).toBe(0)
    expect(await client.errnoOf(ZERO, 0, 512)).toBe(0)
    expect(await client.errnoOf(READ, SIZE - 1, 1, { flags: FUA })).toBe(0)
    expect(await client.errnoOf(STATUS, 0, SIZE, { flags: REQ_ONE })).toBe(0)
    expect(await client.errnoOf(WRITE, 0, 0)).toBe(0)
    expect(await client.errnoOf(READ, 0, 0)).toBe(0)
    expect(disk.asked).toEqual([
      'write 10 3 fua',
      'flush',
      'trim 4096 8192 fua',
      `zero 0 ${SIZE} no-hole fast fua`,
      'zero 0 512',
      `read ${SIZE - 1} 1`,
      'write 0 0',
      'read 0 0',
    ])
    client.request(DISC, 0, 0)
    await client.untilEnded()
  })

  it('refuses what cannot be, and goes on with the next request', async () => {
    const client = await served.open()
    const data = noise(512)
    const cases: [number, Parameters<typeof client.errnoOf>][] = [
      [EINVAL, [READ, SIZE, 1]],
      [EINVAL, [READ, SIZE - 1, 2]],
      [EINVAL, [READ, 2n ** 64n - 1n, 2]],
      [EINVAL, [READ, 2n ** 53n, 1]],
      [ENOSPC, [WRITE, SIZE - 511, 512, { data }]],
      [ENOSPC, [WRITE, 2n ** 64n - 512n, 512, { data }]],
      [ENOSPC, [ZERO, 1, SIZE]],
      [EINVAL, [TRIM, 1, SIZE]],
      [EINVAL, [CACHE, 0, 512]],
      [EINVAL, [999, 0, 512]],
      [EINVAL, [STATUS, 0, 512]],
      [EINVAL, [READ, 0, 512, { flags: NO_HOLE }]],
      [EINVAL, [WRITE, 0, 512, { flags: DF, data }]],
      [EINVAL, [TRIM, 0, 512, { flags: 32 }]],
      [EINVAL, [FLUSH, 0, 0, { flags: FAST }]],
    ]
    for (const [errno, args] of cases)
      expect([args[0], args[1], await client.errnoOf(...args)]).toEqual([args[0], args[1], errno])
    expect(disk.asked).toEqual([])
    expect((await client.read(0, 512)).chunks).toEqual(['hole 512'])
  })

  it('knows DF only with structured replies', async () => {
    const client = await served.open({ structured: false })
    expect(client.flags & 128).toBe(0)
    expect(await client.errnoOf(READ, 0, 512, { flags: DF })).toBe(EINVAL)
  })

  it('changes nothing that is read-only, and has no trim where there is none', async () => {
    const client = await served.open({ name: 'ro' })
    expect(await client.errnoOf(WRITE, 0, 512, { data: noise(512) })).toBe(EPERM)
    expect(await client.errnoOf(ZERO, 0, 512)).toBe(EPERM)
    expect(await client.errnoOf(TRIM, 0, 512)).toBe(EPERM)
    expect(await client.errnoOf(FLUSH, 0, 0)).toBe(0)
    disk.info = { ...disk.info, trim: false, writeZeroes: false }
    const plain = await served.open()
    expect(plain.flags).toBe(0b1_1000_1101)
    expect(await plain.errnoOf(TRIM, 0, 512)).toBe(EINVAL)
    expect(await plain.errnoOf(ZERO, 0, 512)).toBe(EINVAL)
    expect(disk.asked).toEqual([])
  })

  it('takes requests of 32 MiB, and refuses longer ones without keeping them', async () => {
    const most = 2 ** 25
    await using large = await ServedDisk.start([new MemoryDisk(2 * most)])
    const client = await large.open()
    const data = Buffer.alloc(most, 7)
    expect(await client.errnoOf(WRITE, 0, most, { data })).toBe(0)
    expect((await client.read(0, most, DF)).bytes.equals(data)).toBe(true)
    expect(await client.errnoOf(READ, 0, most + 1)).toBe(EOVERFLOW)
    expect(await client.errnoOf(WRITE, 0, most + 1, { data: Buffer.concat([data, Buffer.alloc(1)]) })).toBe(EINVAL)
    expect(await client.errnoOf(ZERO, 0, 2 * most)).toBe(0)
    expect((await client.read(0, 512)).chunks).toEqual(['hole 512'])
  })

  it('tells what an export failed with, with its message where replies are structured', async () => {
    const client = await served.open()
    disk.failure = 'ENOSPC'
    const [failed] = await client.ask(WRITE, 0, 512, { data: noise(512) })
    expect([failed?.error, failed?.payload.subarray(6).toString()]).toEqual([ENOSPC, 'as the test wants it'])
    disk.failure = new NbdError('ENOTSUP', 'no')
    expect(await client.errnoOf(ZERO, 0, 512, { flags: FAST })).toBe(ENOTSUP)
    disk.failure = new Error('x'.repeat(10_000))
    const [long] = await client.ask(READ, 0, 512)
    expect([long?.error, long?.payload.length]).toEqual([EIO, 1006])
    const simple = await served.open({ structured: false })
    expect(await simple.ask(READ, 0, 512)).toMatchObject([{ kind: 'simple', error: EIO }])
    disk.failure = undefined
    expect((await simple.ask(READ, 0, 512))[0]?.payload).toEqual(Buffer.alloc(512))
  })

  it('answers in any order, each by its cookie', async () => {
    const client = await served.open()
    disk.hold()
    const slow = client.request(READ, 0, 512)
    await until(() => disk.held === 1)
    const refused = client.request(READ, SIZE, 512)
    expect((await client.reply()).cookie).toBe(refused)
    disk.letGo()
    expect((await client.reply()).cookie).toBe(slow)
  })

  it('answers a client that only stopped sending', async () => {
    const client = await served.open()
    disk.hold()
    const cookie = client.request(FLUSH, 0, 0)
    client.socket.end()
    await until(() => disk.held === 1)
    disk.letGo()
    expect((await client.reply()).cookie).toBe(cookie)
    await client.untilEnded()
  })
})

describe('back-pressure', () => {
  it('takes no more requests than the window holds, and goes on when there is room', async () => {
    const disk = new MemoryDisk(SIZE)
    await using served = await ServedDisk.start([disk], { maxRequests: 4, maxBytes: 1 << 20 })
    const client = await served.open()
    disk.hold()
    const cookies = Array.from({ length: 9 }, () => client.request(READ, 0, 512))
    await until(() => disk.held === 4)
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect([disk.held, served.server.held]).toEqual([4, 2048])
    disk.letGo()
    const answered = new Set<bigint>()
    for (const _ of cookies) answered.add((await client.reply()).cookie)
    expect(answered).toEqual(new Set(cookies))
    await until(() => served.server.held === 0)
  })

  it('takes no more bytes than the window holds, but one request of any length', async () => {
    const disk = new MemoryDisk(SIZE)
    await using served = await ServedDisk.start([disk], { maxBytes: 1000 })
    const client = await served.open()
    disk.hold()
    client.request(WRITE, 0, 4096, { data: noise(4096) })
    client.request(WRITE, 0, 1, { data: noise(1) })
    await until(() => disk.held === 1)
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect([disk.held, served.server.held]).toEqual([1, 4096])
    disk.letGo()
    await client.reply()
    await client.reply()
  })

  it('leaves what a client sends meanwhile in the socket', async () => {
    const disk = new MemoryDisk(SIZE)
    await using served = await ServedDisk.start([disk], { maxRequests: 1 })
    const client = await served.open()
    disk.hold()
    const data = noise(SIZE)
    for (let i = 0; i < 32; i++) client.request(WRITE, 0, SIZE, { data })
    await until(() => disk.held === 1)
    let before = -1
    while (client.socket.writableLength !== before) {
      before = client.socket.writableLength
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    // Of 32 MiB, what was taken is the first one, a little, and what the kernel keeps for sockets.
    expect(client.socket.writableLength).toBeGreaterThan(28 * SIZE)
    disk.letGo()
    for (let i = 0; i < 32; i++) expect((await client.reply()).error).toBe(0)
  })

  it('reads nothing more from a client that does not read its answers', async () => {
    const disk = new MemoryDisk(4 << 20)
    disk.bytes.fill(1)
    await using served = await ServedDisk.start([disk], { maxBytes: 4 << 20 })
    const client = await served.open()
    client.socket.pause()
    for (let i = 0; i < 64; i++) client.request(READ, 0, 1 << 20)
    // As many as the window and the socket hold: then the disk is not asked any more.
    await until(() => served.server.held === 4 << 20)
    await new Promise((resolve) => setTimeout(resolve, 50))
    const { length } = disk.asked
    expect(length).toBeLessThan(16)
    const other = await served.open()
    expect((await other.read(0, 512)).bytes[0]).toBe(1)
    client.socket.resume()
    for (let i = 0; i < 64; i++) await client.reply()
    expect(disk.asked.length).toBe(65)
  })
})
