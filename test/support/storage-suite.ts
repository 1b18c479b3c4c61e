import { afterEach, expect, it } from 'vitest'
import type { StartDisk, TestDisk } from './test-disk.ts'

const MiB = 2 ** 20

/** Starts disks that end with their test. */
function ending(startDisk: StartDisk): StartDisk {
  const disks: TestDisk[] = []
  afterEach(async () => {
    for (const disk of disks.splice(0)) await disk.close()
  })
  return async (needs) => {
    const disk = await startDisk(needs)
    disks.push(disk)
    return disk
  }
}

/** A disk of 16 MiB whose size changes while it is in use. */
export function resizeSuite(startDisk: StartDisk): void {
  const start = ending(startDisk)

  it('is told of a new size, larger and smaller', async () => {
    const disk = await start()
    const driver = await disk.open()
    const sizes: number[] = []
    let told: () => void = () => {}
    driver.on('resize', (capacity) => {
      sizes.push(capacity)
      told()
    })
    for (const size of [32 * MiB, 8 * MiB]) {
      const heard = new Promise<void>((resolve) => (told = resolve))
      await disk.resize?.(size)
      await heard
      expect(driver.capacity).toBe(size)
    }
    expect(sizes).toEqual([32 * MiB, 8 * MiB])
    await expect(driver.read(8 * MiB, 512)).rejects.toMatchObject({ code: 'block.out-of-range' })
    await driver.close()
  })
}

/** What a disk says of itself. */
export interface StorageTraits {
  readonly cache: 'writeback' | 'writethrough'
  readonly mayUnmap: boolean
}

/** What a disk keeps in its image, a file with holes. Disks of 16 MiB, with a write cache that can be switched. */
export function storageSuite(startDisk: StartDisk, says: StorageTraits = { cache: 'writeback', mayUnmap: true }): void {
  const start = ending(startDisk)

  it('takes less room after a discard, and after zeroes that may unmap', async () => {
    const disk = await start()
    const driver = await disk.open()
    const data = new Uint8Array(8 * MiB).fill(0xa5)
    await driver.write(0, data)
    await driver.flush()
    const full = disk.allocated()
    expect(full).toBeGreaterThanOrEqual(8 * MiB)
    await driver.discard(0, 4 * MiB)
    await driver.flush()
    const discarded = disk.allocated()
    expect(discarded).toBeLessThanOrEqual(full - 4 * MiB + 65536)
    expect(driver.mayUnmap).toBe(says.mayUnmap)
    await driver.writeZeroes(4 * MiB, 2 * MiB, { unmap: true })
    await driver.flush()
    if (says.mayUnmap) expect(disk.allocated()).toBeLessThanOrEqual(discarded - 2 * MiB + 65536)
    await driver.writeZeroes(6 * MiB, 2 * MiB)
    expect((await driver.read(4 * MiB, 4 * MiB)).every((byte) => byte === 0)).toBe(true)
    await driver.close()
  })

  it('cannot be written where it is read-only', async () => {
    const disk = await start({ readOnly: true })
    const driver = await disk.open()
    expect(driver.readOnly).toBe(true)
    expect(await driver.read(0, 4096)).toEqual(new Uint8Array(4096))
    for (const change of [
      driver.write(0, new Uint8Array(512)),
      driver.discard(0, 4096),
      driver.writeZeroes(0, 4096),
      driver.writeFrom(0, driver.allocate(512)),
    ]) {
      await expect(change).rejects.toMatchObject({ code: 'block.read-only' })
    }
    await driver.flush()
    await driver.close()
    // Who leaves RO out is told by the device itself.
    const daring = await disk.open({ withoutFeatures: ['RO'] })
    await expect(daring.write(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'block.io-error' })
    await daring.close()
    expect(disk.stored(0, 512)).toEqual(new Uint8Array(512))
  })

  it('switches its cache', async () => {
    const disk = await start()
    const driver = await disk.open()
    expect(driver.cache).toBe(says.cache)
    for (const cache of ['writethrough', 'writeback', says.cache] as const) {
      await driver.setWriteCache(cache)
      expect(driver.cache).toBe(cache)
      await driver.write(0, new Uint8Array(512).fill(1))
    }
    await driver.close()
  })

  it('refuses what the device does not offer, with a code', async () => {
    const disk = await start()
    const driver = await disk.open()
    for (const refused of [driver.secureErase(0, 512), driver.lifetime(), driver.zones(), driver.resetAllZones()]) {
      await expect(refused).rejects.toMatchObject({ code: 'block.unsupported' })
    }
    await driver.close()
  })
}
