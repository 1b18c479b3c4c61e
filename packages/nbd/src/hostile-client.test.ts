import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from 'vitest'
import { MemoryDisk } from './memory-disk.fixture.ts'
import { infoQuery, metaQuery, u16, u32 } from './nbd-client.fixture.ts'
import { ServedDisk, until } from './served-disk.fixture.ts'

const SIZE = 1 << 16
const options = { numRuns: 150 } as const

describe('a client that dies', () => {
  let disk: MemoryDisk
  let served: ServedDisk
  beforeEach(async () => {
    disk = new MemoryDisk(SIZE)
    served = await ServedDisk.start([disk])
  })
  afterEach(() => served[Symbol.asyncDispose]())

  it('in the middle of a write leaves the disk as it was, and nobody else notices', async () => {
    const other = await served.open()
    const client = await served.open()
    client.request(1, 0, 4096, { data: Buffer.alloc(100, 1) })
    await new Promise((resolve) => setTimeout(resolve, 10))
    client.close()
    await until(() => served.server.clients === 1)
    expect(disk.asked).toEqual([])
    expect(served.disconnects).toEqual([undefined])
    expect((await other.read(0, 4096)).chunks).toEqual(['hole 4096'])
    await until(() => served.server.held === 0)
  })

  it('with requests under way: they end, and their room is free again', async () => {
    const client = await served.open()
    disk.hold()
    for (let i = 0; i < 20; i++) client.request(i % 2, 512 * i, 512, { data: Buffer.alloc(i % 2 ? 512 : 0, 9) })
    await until(() => disk.held === 20)
    client.close()
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(served.server.clients).toBe(1)
    disk.letGo()
    await until(() => served.server.clients === 0)
    expect(disk.bytes[512]).toBe(9)
    expect(served.server.held).toBe(0)
  })

  it('many times over', async () => {
    for (let i = 0; i < 50; i++) {
      const client = await served.open()
      client.request(0, 0, SIZE)
      client.close()
    }
    await until(() => served.server.clients === 0)
    await (await served.open()).write(0, Buffer.from('x'))
  })
})

describe('too many clients', () => {
  it('are hung up on, and the others are not', async () => {
    await using served = await ServedDisk.start([new MemoryDisk(SIZE)], { maxClients: 3 })
    const clients = [await served.open(), await served.open(), await served.open()]
    await served.connect().untilEnded()
    expect(await clients[0]?.errnoOf(3, 0, 0)).toBe(0)
    clients[1]?.close()
    await until(() => served.server.clients === 2)
    expect(await (await served.open()).errnoOf(3, 0, 0)).toBe(0)
  })
})

/** Bytes that go wrong late: pieces of the protocol, put together anyhow. */
const fragment = fc.oneof(
  fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
  fc.constant(Buffer.from('IHAVEOPT')),
  fc.nat({ max: 12 }).map(u32),
  fc.nat().map(u32),
  fc.nat({ max: 65535 }).map(u16),
  fc.constantFrom(infoQuery('', [3]), infoQuery('disk'), metaQuery('', ['base:allocation'])),
  fc.constant(Buffer.from('25609513', 'hex')),
)

/** An option that is framed well, with data that may be anything. */
const framedOption = fc
  .tuple(fc.oneof(fc.nat({ max: 12 }), fc.nat()), fc.array(fragment, { maxLength: 4 }))
  .filter(([option]) => option !== 1 && option !== 2 && option !== 7)
  .map(([option, data]) => ({ option, data: Buffer.concat(data) }))

const framedRequest = fc.record({
  type: fc.oneof(fc.nat({ max: 8 }), fc.nat({ max: 65535 })).filter((type) => type !== 2 && type !== 1),
  flags: fc.oneof(fc.nat({ max: 31 }), fc.nat({ max: 65535 })),
  offset: fc.oneof(fc.bigInt({ min: 0n, max: BigInt(SIZE) + 10n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
  length: fc.oneof(fc.nat({ max: SIZE + 10 }), fc.nat({ max: 2 ** 32 - 1 })),
})

describe('any bytes', () => {
  let disk: MemoryDisk
  let served: ServedDisk
  beforeAll(async () => {
    disk = new MemoryDisk(SIZE)
    served = await ServedDisk.start([disk])
  })
  afterAll(() => served[Symbol.asyncDispose]())

  /** Whatever one client has done, the next one is served. */
  async function stillServes(): Promise<void> {
    const client = await served.open()
    expect((await client.read(0, 512)).bytes).toEqual(disk.bytes.subarray(0, 512))
    client.close()
    await until(() => served.server.clients === 0)
    expect(served.server.held).toBe(0)
  }

  it('instead of a negotiation', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fragment, { maxLength: 12 }), fc.boolean(), async (fragments, greeted) => {
        const client = served.connect()
        await client.take(18)
        if (greeted) client.send(u32(3))
        client.send(...fragments)
        client.socket.end()
        await client.untilEnded()
        client.close()
        await stillServes()
      }),
      options,
    )
  })

  it('as data of options: each is answered, and the export is to be had after it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(framedOption, { maxLength: 6 }), async (asked) => {
        const client = served.connect()
        await client.greet()
        for (const { option, data } of asked) {
          const answers = await client.option(option, data)
          expect(answers.at(-1)?.type === 1 || (answers.at(-1)?.type ?? 0) > 2 ** 31).toBe(true)
        }
        await client.go()
        client.close()
        await stillServes()
      }),
      options,
    )
  })

  it('as requests that are framed well: each is answered once, within its bounds', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(framedRequest, { maxLength: 8 }), fc.boolean(), async (asked, allocation) => {
        const client = await served.open({ allocation })
        disk.asked.length = 0
        for (const { type, offset, length, flags } of asked) {
          const replies = await client.ask(type, offset, length, { flags })
          expect(replies.filter(({ done }) => done)).toHaveLength(1)
        }
        for (const line of disk.asked) {
          const [, offset = 0, length = 0] = line.split(' ').map(Number)
          expect(line === 'flush' || offset + length <= SIZE).toBe(true)
        }
        client.close()
        await stillServes()
      }),
      options,
    )
  })

  it('as writes that arrive in pieces, cut anywhere: the disk holds what was sent', async () => {
    const write = fc.record({ offset: fc.nat(SIZE - 5000), data: fc.uint8Array({ maxLength: 5000 }) })
    await fc.assert(
      fc.asyncProperty(
        fc.array(write, { minLength: 1, maxLength: 6 }),
        fc.array(fc.nat(6000), { maxLength: 12 }),
        async (writes, cuts) => {
          const client = await served.open({ structured: false })
          const sent: Buffer[] = []
          const expected = Buffer.from(disk.bytes)
          for (const [index, { offset, data }] of writes.entries()) {
            const header = Buffer.alloc(28)
            header.writeUInt32BE(0x25609513, 0)
            header.writeUInt16BE(1, 6)
            header.writeBigUInt64BE(BigInt(index), 8)
            header.writeBigUInt64BE(BigInt(offset), 16)
            header.writeUInt32BE(data.length, 24)
            sent.push(header, Buffer.from(data))
            expected.set(data, offset)
          }
          let rest = Buffer.concat(sent)
          for (const cut of cuts) {
            client.send(rest.subarray(0, cut))
            rest = rest.subarray(cut)
            await new Promise((resolve) => setImmediate(resolve))
          }
          client.send(rest)
          const answered = new Set<bigint>()
          for (const _ of writes) {
            const { cookie, error } = await client.reply()
            expect(error).toBe(0)
            answered.add(cookie)
          }
          expect(answered.size).toBe(writes.length)
          expect(disk.bytes.equals(expected)).toBe(true)
          client.close()
          await stillServes()
        },
      ),
      options,
    )
  })

  it('after requests: the client is hung up on', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 28, maxLength: 200 }), async (bytes) => {
        fc.pre(Buffer.from(bytes).readUInt32BE(0) !== 0x25609513)
        const client = await served.open()
        const before = served.disconnects.length
        client.send(bytes)
        await client.untilEnded()
        await until(() => served.disconnects.length > before)
        expect(served.disconnects.at(-1)?.message).toContain('no request')
        await stillServes()
      }),
      { numRuns: 50 },
    )
  })

  it('a write of 4 GiB is let go without being kept', async () => {
    const client = await served.open()
    client.request(1, 0, 2 ** 32 - 1)
    const before = process.memoryUsage().arrayBuffers
    const piece = Buffer.alloc(1 << 20)
    for (let i = 0; i < 64; i++)
      await new Promise<void>((resolve) =>
        client.socket.write(piece) ? resolve() : client.socket.once('drain', resolve),
      )
    expect(served.server.held).toBe(0)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(48 << 20)
    client.close()
    await stillServes()
  })
})
