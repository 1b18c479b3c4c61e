import { honest, hostile } from '@virtio-ts/device-models'
import { describe, expect, it } from 'vitest'
import { blockExport } from './block-export.ts'
import { ModelDisk, pattern, until } from './model-disk.fixture.ts'

const model = { capacity: 128 }
const broken = () => hostile([{ kind: 'id-range', after: 1, times: 1 }])

describe('a disk whose device fails', () => {
  it('is opened again; what was under way fails, what comes then works', async () => {
    await using made = await ModelDisk.open({ model, profiles: [broken(), honest()] })
    const session = blockExport(made.disk).connect()
    await session.read(0, 512)
    await expect(session.read(0, 512)).rejects.toMatchObject({ code: 'EIO' })
    await until(() => made.events.length === 2)
    expect(made.events).toMatchObject([
      { event: 'fault', code: 'ring.id-range' },
      { event: 'reset', reason: 'ring.id-range' },
    ])
    await session.read(0, 512)
    await session.flush()
    expect(made.released).toBe(0)
  })

  it('refuses requests and clients while it is away', async () => {
    await using made = await ModelDisk.open({
      model,
      profiles: [broken(), honest()],
      failures: { 1: new Error('not yet') },
    })
    const served = blockExport(made.disk)
    const session = served.connect()
    await session.read(0, 512)
    await session.read(0, 512).catch(() => {})
    await expect(session.write(0, [pattern(512)], false)).rejects.toMatchObject({ code: 'EIO' })
    await expect(session.flush()).rejects.toMatchObject({ code: 'EIO' })
    expect(() => served.connect()).toThrow('not there at the moment')
    await until(() => made.events.some(({ event }) => event === 'reset'))
    served.connect()
  })

  it('tells each client once, by a flush, that what was confirmed may be lost', async () => {
    await using made = await ModelDisk.open({ model, profiles: [broken(), broken(), honest()] })
    const served = blockExport(made.disk)
    const [a, b] = [served.connect(), served.connect()]
    await a.write(0, [pattern(512)], false)
    await a.read(0, 512).catch(() => {})
    await until(() => made.events.some(({ event }) => event === 'reset'))
    await expect(a.flush()).rejects.toMatchObject({ code: 'EIO', message: expect.stringContaining('may be lost') })
    await served
      .connect()
      .flush()
      .catch(() => {})
    await until(() => made.events.filter(({ event }) => event === 'reset').length === 2)
    await expect(b.flush()).rejects.toMatchObject({ code: 'EIO' })
    await b.flush()
    await served.connect().flush()
  })

  it('tells so also where the device calls its cache a writethrough one', async () => {
    await using made = await ModelDisk.open({ model: { ...model, writeback: false }, profiles: [broken(), honest()] })
    const session = blockExport(made.disk).connect()
    await session.write(0, [pattern(512)], false)
    await session.read(0, 512).catch(() => {})
    await until(() => made.events.some(({ event }) => event === 'reset'))
    await expect(session.flush()).rejects.toMatchObject({ code: 'EIO' })
  })

  it('tells nothing of the kind where everything had been flushed', async () => {
    await using made = await ModelDisk.open({
      model,
      profiles: [hostile([{ kind: 'id-range', after: 2, times: 1 }]), honest()],
    })
    const session = blockExport(made.disk).connect()
    await session.write(0, [pattern(512)], true)
    await session.read(0, 512).catch(() => {})
    await until(() => made.events.some(({ event }) => event === 'reset'))
    expect(made.disk.losses).toBe(0)
    await session.flush()
  })

  it('gives up a device that does not come up again', async () => {
    const failure = new Error('broken for good')
    const failures = Object.fromEntries(
      [1, 2, 3, 4, 5].map((turn) => [turn, Object.assign(failure, { code: 'device.gone' })]),
    )
    await using made = await ModelDisk.open({ model, profiles: [broken()], failures })
    const session = blockExport(made.disk).connect()
    await session.read(0, 512)
    await session.read(0, 512).catch(() => {})
    expect(await made.disk.ended).toBe(failure)
    expect(made.events.map(({ event }) => event)).toEqual(['fault'])
    await made.disk.stop(100)
    expect(made.released).toBe(1)
  })

  it('waits for one that comes back, as often as it takes, and tells a failure that repeats itself once', async () => {
    const failure = new Error('nobody listens')
    await using made = await ModelDisk.open({
      model,
      profiles: [broken(), honest()],
      reconnects: true,
      failures: { 1: failure, 2: failure },
    })
    const session = blockExport(made.disk).connect()
    await session.read(0, 512)
    await session.read(0, 512).catch(() => {})
    await until(() => made.events.length === 3)
    expect(
      made.events.map((event) => ('message' in event && event.message === 'nobody listens') || event.event),
    ).toEqual(['fault', true, 'reset'])
    expect(made.attached).toBe(4)
    await session.read(0, 512)
  })
})

describe('a disk that is stopped', () => {
  it('flushes, resets the device and releases it, once', async () => {
    const made = await ModelDisk.open({ model })
    await blockExport(made.disk)
      .connect()
      .write(0, [pattern(512)], false)
    const { driver } = made.disk
    await Promise.all([made.disk.stop(1000), made.disk.stop(1000)])
    expect(driver.stats().flushes).toBe(1)
    expect(made.released).toBe(1)
  })

  it('lets go of a device that does not flush in time, and says so', async () => {
    const made = await ModelDisk.open({ model, profiles: [hostile([{ kind: 'never-complete' }])] })
    await expect(made.disk.stop(50)).rejects.toMatchObject({ code: 'blkd.flush-timeout' })
    expect(made.released).toBe(1)
  })

  it('does not wait for one that is away', async () => {
    const failures = Object.fromEntries(Array.from({ length: 50 }, (_, turn) => [turn + 1, new Error('away')]))
    const made = await ModelDisk.open({ model, profiles: [broken()], reconnects: true, failures })
    const session = blockExport(made.disk).connect()
    await session.read(0, 512)
    await session.read(0, 512).catch(() => {})
    await until(() => made.attached > 1)
    await made.disk.stop(1000)
    expect(made.released).toBe(1)
    expect(made.events.some(({ event }) => event === 'reset')).toBe(false)
  })
})
