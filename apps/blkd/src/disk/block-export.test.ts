import { hostile, strict } from '@virtio-ts/device-models'
import type { NbdSession } from '@virtio-ts/nbd'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { blockExport } from './block-export.ts'
import { ModelDisk, pattern } from './model-disk.fixture.ts'

const SIZE = 64 * 1024
const model = { capacity: SIZE / 512, blockSize: 4096 }
const plain = { noHole: false, fast: false }

async function open(options: Parameters<typeof ModelDisk.open>[0] = { model, profiles: [strict()] }): Promise<{
  made: ModelDisk
  session: NbdSession
  stored: () => Uint8Array
}> {
  const made = await ModelDisk.open(options)
  return {
    made,
    session: blockExport(made.disk, { name: 'disk' }).connect(),
    stored: () => made.model.store.read(0, SIZE),
  }
}

describe('an export of a block device', () => {
  it('says what the device can', async () => {
    const { made, session } = await open()
    await using _ = made
    expect(session.info).toEqual({
      size: SIZE,
      readOnly: false,
      preferredBlockSize: 4096,
      trim: true,
      writeZeroes: true,
      multiConn: true,
    })
    expect(blockExport(made.disk, { readOnly: true }).connect().info.readOnly).toBe(true)
    // Clients write anywhere, which its zones do not take.
    const zoned = await open({ model: { capacity: 128, zoned: { model: 'host-managed', zoneSectors: 32 } } })
    await using ___ = zoned.made
    expect(zoned.session.info.readOnly).toBe(true)
    const other = await open({
      model: { capacity: 129, blockSize: 8192, readOnly: true, features: { DISCARD: false, WRITE_ZEROES: false } },
    })
    await using __ = other.made
    expect(other.session.info).toMatchObject({
      // The last sector is no whole block.
      size: 65536,
      readOnly: true,
      preferredBlockSize: 8192,
      trim: false,
      writeZeroes: false,
    })
  })

  it('does any bytes: reads, writes and zeroes of parts of blocks', async () => {
    const { made, session, stored } = await open()
    await using _ = made
    const range = fc.tuple(fc.nat(SIZE - 1), fc.nat(20_000)).map(([offset, length]) => ({
      offset,
      length: Math.min(length, SIZE - offset),
    }))
    const operation = fc.record({ kind: fc.constantFrom('write', 'zero', 'read'), range, seed: fc.nat(255) })
    const expected = Buffer.from(stored())
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 6 }), async (operations) => {
        for (const { kind, range: at, seed } of operations) {
          const { offset, length } = at
          if (kind === 'write') {
            const bytes = pattern(length, seed)
            const cut = Math.floor(length / 3)
            await session.write(offset, [bytes.subarray(0, cut), bytes.subarray(cut)], false)
            expected.set(bytes, offset)
          } else if (kind === 'zero') {
            await session.writeZeroes(offset, length, plain, false)
            expected.fill(0, offset, offset + length)
          } else
            expect(Buffer.compare(await session.read(offset, length), expected.subarray(offset, offset + length))).toBe(
              0,
            )
        }
        expect(Buffer.compare(stored(), expected)).toBe(0)
      }),
      { numRuns: 60 },
    )
    expect(made.models[0]?.store.allocated).toBeGreaterThan(0)
  })

  it('loses nothing when many write parts of one block at once', async () => {
    const { made, session, stored } = await open()
    await using _ = made
    const bytes = pattern(8192)
    const other = blockExport(made.disk).connect()
    await Promise.all(
      Array.from({ length: 64 }, (_x, i) => session.write(i * 128, [bytes.subarray(i * 128, (i + 1) * 128)], false)),
    )
    expect(Buffer.compare(stored().subarray(0, 8192), bytes)).toBe(0)
    // Whole blocks and parts of them in turn: whoever comes last has the last word.
    await Promise.all([
      session.write(1, [pattern(10, 2)], false),
      session.write(0, [pattern(4096, 3)], false),
      session.write(100, [pattern(10, 4)], false),
      session.writeZeroes(200, 10, plain, false),
    ])
    const wanted = Buffer.from(pattern(4096, 3))
    wanted.set(pattern(10, 4), 100)
    wanted.fill(0, 200, 210)
    expect(Buffer.compare(stored().subarray(0, 4096), wanted)).toBe(0)
    expect((await other.read(0, 1))[0]).toBe(wanted[0])
  })

  it('trims whole blocks only, and nothing of a range without any', async () => {
    const { made, session, stored } = await open()
    await using _ = made
    await session.write(0, [pattern(SIZE)], false)
    await session.trim(100, 4000, false)
    await session.trim(4097, 4095, false)
    expect(Buffer.compare(stored(), pattern(SIZE))).toBe(0)
    await session.trim(4095, 4098, true)
    const wanted = Buffer.from(pattern(SIZE))
    wanted.fill(0, 4096, 8192)
    expect(Buffer.compare(stored(), wanted)).toBe(0)
  })

  it('flushes after a write that is to be safe, and only then', async () => {
    const { made, session } = await open()
    await using _ = made
    const flushes = (): number => made.disk.driver.stats().flushes ?? 0
    await session.write(0, [pattern(512)], false)
    expect(flushes()).toBe(0)
    await session.write(0, [pattern(512)], true)
    await session.trim(0, 4096, true)
    await session.writeZeroes(0, 4096, plain, true)
    expect(flushes()).toBe(3)
    await session.flush()
    expect(flushes()).toBe(4)
  })

  it('flushes also where the device calls its cache a writethrough one', async () => {
    // qemu-storage-daemon 7.2 always does, and syncs its file at a flush only.
    const { made, session } = await open({ model: { ...model, writeback: false } })
    await using _ = made
    expect(made.disk.driver.cache).toBe('writethrough')
    await session.write(0, [pattern(512)], true)
    await session.flush()
    expect(made.disk.driver.stats().flushes).toBe(2)
  })

  it('is fast with zeroes where storage is given back, and says no where that is not known', async () => {
    const { made, session, stored } = await open()
    await using _ = made
    await session.write(0, [pattern(8192)], false)
    await expect(session.writeZeroes(0, 4096, { noHole: true, fast: true }, false)).rejects.toMatchObject({
      code: 'ENOTSUP',
    })
    expect(stored()[0]).not.toBe(0)
    await session.writeZeroes(0, 4096, { noHole: false, fast: true }, false)
    expect(stored()[0]).toBe(0)
    const other = await open({ model: { ...model, writeZeroes: { mayUnmap: false } } })
    await using __ = other.made
    const refused = other.session.writeZeroes(0, 4096, { noHole: false, fast: true }, false)
    await expect(refused).rejects.toMatchObject({ code: 'ENOTSUP' })
    await other.session.writeZeroes(0, 4096, plain, false)
  })

  it('tells errors of the driver by the numbers of the protocol', async () => {
    const { made, session } = await open({ model, profiles: [hostile([{ kind: 'io-error', times: 1 }])] })
    await using _ = made
    await expect(session.read(0, 512)).rejects.toMatchObject({ code: 'EIO' })
    made.model.resize(8)
    await new Promise((resolve) => setTimeout(resolve, 20))
    await expect(session.write(SIZE - 4096, [pattern(4096)], false)).rejects.toMatchObject({ code: 'ENOSPC' })
    await expect(session.read(SIZE - 4096, 4096)).rejects.toMatchObject({ code: 'EINVAL' })
    expect(made.events).toEqual([{ event: 'resize', capacity: 4096 }])
    expect(blockExport(made.disk).connect().info.size).toBe(4096)
    const readOnly = await open({ model: { ...model, readOnly: true } })
    await using __ = readOnly.made
    await expect(readOnly.session.write(0, [pattern(4096)], false)).rejects.toMatchObject({ code: 'EPERM' })
    await readOnly.made.disk.stop(1000)
    await expect(readOnly.session.read(0, 512)).rejects.toMatchObject({ code: 'ESHUTDOWN' })
  })
})
