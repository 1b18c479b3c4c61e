import { isVirtioError } from '@virtio-ts/spec'
import { afterEach, expect, it } from 'vitest'
import type { DiskNeeds, StartDisk, TestDisk } from './test-disk.ts'

const REQUESTS = 200

/** How a disk that fails, that is killed or that is slow shows itself to whoever uses it. */
export function faultSuite(startDisk: StartDisk): void {
  const disks: TestDisk[] = []
  const start = async (needs: DiskNeeds): Promise<TestDisk> => {
    const disk = await startDisk(needs)
    disks.push(disk)
    return disk
  }
  afterEach(async () => {
    for (const disk of disks.splice(0)) await disk.close()
  })

  it('tells I/O errors as such, each to its own caller, and nothing else', async () => {
    const disk = await start({
      failing: [
        { kind: 'read', sector: 8 },
        { kind: 'write', sector: 16 },
        { kind: 'discard', sector: 128 },
      ],
    })
    const driver = await disk.open()
    const faults: unknown[] = []
    driver.on('fault', (reason) => faults.push(reason))
    const outcomes = await Promise.allSettled(
      Array.from({ length: 2000 }, (_, n) => {
        const sector = n % 32
        return n % 64 < 32 ? driver.read(sector * 512, 512) : driver.write(sector * 512, new Uint8Array(512).fill(n))
      }),
    )
    outcomes.forEach((outcome, n) => {
      const sector = n % 32
      const fails = n % 64 < 32 ? sector === 8 : sector === 16
      expect(outcome.status).toBe(fails ? 'rejected' : 'fulfilled')
      if (outcome.status === 'rejected')
        expect(outcome.reason).toMatchObject({
          code: 'block.io-error',
          details: { queue: 0, detail: { sector, status: 1 } },
        })
    })
    await expect(driver.discard(128 * 512, 4096)).rejects.toMatchObject({ code: 'block.io-error' })
    // One part of many that fails is the whole read's failure.
    await expect(driver.read(0, 4 * 2 ** 20)).rejects.toMatchObject({ code: 'block.io-error' })
    expect(faults).toEqual([])
    expect((await driver.read(9 * 512, 512)).length).toBe(512)
    await driver.close()
  })

  it(`V6 killed with ${REQUESTS} requests in flight: each settles once, none is lost`, async () => {
    const disk = await start({ slow: true })
    const driver = await disk.open()
    const faults: string[] = []
    driver.on('fault', ({ code }) => faults.push(code))
    const settled = new Array<number>(REQUESTS).fill(0)
    const codes: string[] = []
    let first: () => void = () => {}
    const some = new Promise<void>((resolve) => (first = resolve))
    const all = settled.map((_, n) => {
      const work: Promise<unknown> =
        n % 2 === 0 ? driver.read(n * 512, 512) : driver.write(n * 512, new Uint8Array(512).fill(n))
      return work.then(
        () => {
          settled[n]!++
          first()
        },
        (error: unknown) => {
          settled[n]!++
          codes.push(isVirtioError(error) ? error.code : String(error))
        },
      )
    })
    await some
    await disk.kill()
    await Promise.all(all)
    expect(settled).toEqual(new Array(REQUESTS).fill(1))
    expect(codes.length).toBeGreaterThan(0)
    expect(new Set(codes)).toEqual(new Set(['device.gone']))
    expect(faults).toEqual(['device.gone'])
    await expect(driver.read(0, 512)).rejects.toMatchObject({ code: 'device.gone' })
    await driver.close()
    expect(driver.stats()).toMatchObject({ held: 0, waiting: 0 })
    expect(disk.allocatedBytes()).toBe(0)
  })

  it('keeps the buffers of requests that were given up until they come back', async () => {
    const disk = await start({ slow: true })
    const driver = await disk.open()
    await driver.write(0, new Uint8Array(64 * 512).fill(0x5a))
    const region = driver.allocate(64 * 512)
    const abort = new AbortController()
    const released: number[] = []
    const reads = Array.from({ length: 64 }, (_, n) =>
      driver.readInto(
        n * 512,
        { region, offset: n * 512, length: 512 },
        { signal: abort.signal, onReleased: () => released.push(n) },
      ),
    )
    const outcomes = Promise.allSettled(reads)
    await Promise.race(reads)
    abort.abort(new Error('enough'))
    const given = (await outcomes).filter(({ status }) => status === 'rejected').length
    expect(given).toBeGreaterThan(0)
    // The device still has them.
    expect(released.length).toBe(64 - given)
    expect(driver.stats().held).toBe(given)
    await driver.close()
    expect(new Set(released).size).toBe(64)
    expect(released.length).toBe(64)
  })
}
