import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MemoryDisk } from './memory-disk.fixture.ts'
import { infoQuery, metaQuery, u16, u32 } from './nbd-client.fixture.ts'
import { ServedDisk, until } from './served-disk.fixture.ts'

const ACK = 1
const INVALID = 2 ** 31 + 3
const UNKNOWN = 2 ** 31 + 6

const [LIST, ABORT, STARTTLS, INFO, GO, STRUCTURED, LIST_META, SET_META] = [3, 2, 5, 6, 7, 8, 9, 10]

describe('the negotiation', () => {
  let disk: MemoryDisk
  let served: ServedDisk
  beforeEach(async () => {
    disk = new MemoryDisk(1 << 20)
    served = await ServedDisk.start([disk, new MemoryDisk(4096, { readOnly: true }, 'other')], {
      negotiationTimeout: 500,
    })
  })
  afterEach(() => served[Symbol.asyncDispose]())

  it('offers fixed newstyle without the zeroes', async () => {
    expect(await served.connect().greet()).toBe(3)
  })

  it('lists its exports with their descriptions', async () => {
    const client = served.connect()
    await client.greet()
    const answers = await client.option(LIST)
    expect(answers.map(({ type }) => type)).toEqual([2, 2, ACK])
    expect(answers[0]?.data.toString('latin1')).toBe('\0\0\0\u0004diska disk in memory')
    expect(await client.option(LIST, Buffer.from('x'))).toMatchObject([{ type: INVALID }])
  })

  it('tells size, flags, block sizes, name and description', async () => {
    const client = served.connect()
    await client.greet()
    const answers = await client.option(INFO, infoQuery('', [3, 2, 1, 99]))
    expect(answers.map(({ type, data }) => [type, type === 3 ? data.readUInt16BE(0) : -1])).toEqual([
      [3, 0],
      [3, 3],
      [3, 1],
      [3, 2],
      [ACK, -1],
    ])
    expect(answers[0]?.data.readBigUInt64BE(2)).toBe(BigInt(1 << 20))
    // HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, CAN_MULTI_CONN, FAST_ZERO; DF comes with structured replies.
    expect(answers[0]?.data.readUInt16BE(10)).toBe(0b1001_0110_1101)
    expect([2, 6, 10].map((at) => answers[1]?.data.readUInt32BE(at))).toEqual([1, 4096, 2 ** 25])
    expect(answers[2]?.data.subarray(2).toString()).toBe('disk')
    expect(served.connects).toBe(0)
    await client.option(STRUCTURED)
    await client.go('other')
    // HAS_FLAGS, READ_ONLY, FLUSH, FUA, DF, CAN_MULTI_CONN.
    expect([client.size, client.flags]).toEqual([4096, 0b1_1000_1111])
  })

  it('refuses exports that are not there, and such that cannot be had now', async () => {
    const client = served.connect()
    await client.greet()
    expect(await client.option(GO, infoQuery('nope'))).toMatchObject([{ type: UNKNOWN }])
    disk.refusal = new Error('gone fishing')
    const [refused] = await client.option(GO, infoQuery('disk'))
    expect([refused?.type, refused?.data.toString()]).toEqual([UNKNOWN, 'gone fishing'])
    disk.refusal = undefined
    await client.go('disk')
    expect(await client.errnoOf(3, 0, 0)).toBe(0)
  })

  it('takes old clients by EXPORT_NAME, with the zeroes and without', async () => {
    for (const [flags, zeroes] of [
      [1, 124],
      [3, 0],
      [0, 124],
    ] as const) {
      const client = served.connect()
      await client.greet(flags)
      client.sendOption(1, Buffer.from('disk'))
      const answer = await client.take(10 + zeroes)
      expect(answer.readBigUInt64BE(0)).toBe(BigInt(1 << 20))
      const cookie = client.request(3, 0, 0)
      expect(await client.reply()).toMatchObject({ kind: 'simple', error: 0, cookie })
    }
    const client = served.connect()
    await client.greet()
    client.sendOption(1, Buffer.from('nope'))
    await client.untilEnded()
    expect(served.disconnects[0]?.message).toContain('export that is not there')
  })

  it('hangs up on EXPORT_NAME when the export cannot be had now', async () => {
    disk.refusal = new Error('gone fishing')
    const client = served.connect()
    await client.greet()
    client.sendOption(1, Buffer.from('disk'))
    await client.untilEnded()
    expect(served.disconnects[0]?.message).toBe('gone fishing')
  })

  it('answers ABORT and hangs up', async () => {
    const client = served.connect()
    await client.greet()
    expect(await client.option(ABORT, Buffer.from('whatever'))).toMatchObject([{ type: ACK }])
    await client.untilEnded()
    await until(() => served.server.clients === 0)
  })

  it('says that it does not know an option, and goes on', async () => {
    const client = served.connect()
    await client.greet()
    for (const option of [STARTTLS, 4, 11, 0, 2 ** 32 - 1])
      expect(await client.option(option, Buffer.alloc(70))).toMatchObject([{ type: 2 ** 31 + 1 }])
    expect(await client.option(GO, Buffer.alloc(100_000))).toMatchObject([{ type: 2 ** 31 + 9 }])
    await client.go()
  })

  it('selects base:allocation, with structured replies only, and for one export', async () => {
    const client = served.connect()
    await client.greet()
    const query = metaQuery('', ['base:allocation', 'x-unknown:thing'])
    expect(await client.option(SET_META, query)).toMatchObject([{ type: INVALID }])
    await client.option(STRUCTURED)
    const listed = await client.option(LIST_META, metaQuery('', []))
    expect(listed.map(({ type, data }) => [type, data.subarray(4).toString()])).toEqual([
      [4, 'base:allocation'],
      [ACK, ''],
    ])
    expect(await client.option(LIST_META, metaQuery('', ['base:']))).toHaveLength(2)
    expect(await client.option(LIST_META, metaQuery('', ['qemu:dirty-bitmap']))).toHaveLength(1)
    expect(await client.option(SET_META, metaQuery('', ['base:']))).toHaveLength(1)
    expect(await client.option(SET_META, metaQuery('nope', ['base:allocation']))).toMatchObject([{ type: UNKNOWN }])
    expect(await client.option(SET_META, query)).toHaveLength(2)
    await client.go('other')
    expect(await client.errnoOf(7, 0, 4096)).toBe(22)
    const right = await served.open({ name: 'other', allocation: true })
    expect(await right.ask(7, 0, 4096)).toMatchObject([
      { type: 5, done: true, payload: Buffer.concat([u32(1), u32(4096), u32(0)]) },
    ])
    expect(await right.errnoOf(7, 0, 0)).toBe(22)
  })

  it('refuses malformed data of options', async () => {
    const client = served.connect()
    await client.greet()
    await client.option(STRUCTURED)
    const cases: [number, Buffer][] = [
      [STRUCTURED, Buffer.alloc(1)],
      [GO, Buffer.alloc(0)],
      [GO, Buffer.concat([u32(4), Buffer.from('disk')])],
      [GO, Buffer.concat([u32(0xffffffff), Buffer.from('disk'), u16(0)])],
      [GO, Buffer.concat([u32(4), Buffer.from('disk'), u16(2), u16(0)])],
      [GO, Buffer.concat([u32(4), Buffer.from('disk'), u16(0), u16(0)])],
      [GO, infoQuery('di\0k')],
      [GO, Buffer.concat([u32(2), Buffer.from([0xc3, 0x28]), u16(0)])],
      [GO, infoQuery('x'.repeat(4097))],
      [SET_META, Buffer.concat([u32(0), u32(0xffffffff)])],
      [SET_META, metaQuery('', ['no-colon'])],
      [SET_META, Buffer.concat([metaQuery('', ['base:allocation']), Buffer.alloc(1)])],
    ]
    for (const [option, data] of cases)
      expect([option, data.length, (await client.option(option, data)).at(-1)?.type]).toEqual([
        option,
        data.length,
        INVALID,
      ])
    await client.go()
  })

  it.each([
    ['flags that nobody knows', () => u32(4), Buffer.alloc(0)],
    ['something that is no option', () => u32(3), Buffer.alloc(16)],
    ['an option of 4 GiB', () => u32(3), Buffer.concat([Buffer.from('IHAVEOPT'), u32(GO as number), u32(0xffffffff)])],
  ])('hangs up on %s', async (_, flags, bytes) => {
    const client = served.connect()
    await client.take(18)
    client.send(flags(), bytes)
    await client.untilEnded()
    expect(served.disconnects).toHaveLength(1)
    await (await served.open()).read(0, 512)
  })

  it('hangs up on a client that does not come to terms', async () => {
    const client = served.connect()
    await client.take(18)
    await client.untilEnded()
    await until(() => served.server.clients === 0)
  })
})
