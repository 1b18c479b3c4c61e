import { isVirtioError } from '@virtio-ts/spec'
import { afterEach, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { QemuDisk, type QemuDiskOptions } from '../support/block-bench.ts'

const disks: QemuDisk[] = []

async function start(options: QemuDiskOptions): Promise<QemuDisk> {
  const disk = await QemuDisk.start(options)
  disks.push(disk)
  return disk
}

const debug = (...rules: readonly string[]): string =>
  [
    'driver=blkdebug,image.driver=file,image.filename={image},werror=report,rerror=report,discard=unmap',
    ...rules.map((rule, index) => rule.replaceAll('%', `inject-error.${index}`)),
  ].join(',')

/** QEMU makes one request of several neighbours otherwise, and all of them fail together. */
const properties = 'disable-legacy=on,request-merging=off'
/** Requests of this drive take their time: 20 a second, after the first few. */
const slow = 'file={image},format=raw,throttling.iops-total=20'

requirement('qemu')('a disk of QEMU that fails', () => {
  afterEach(async () => {
    for (const disk of disks.splice(0)) await disk.close()
  })

  it('tells I/O errors as such, each to its own caller, and nothing else', async () => {
    const disk = await start({
      properties,
      drive: debug(
        '%.event=none,%.iotype=read,%.errno=5,%.sector=8',
        '%.event=none,%.iotype=write,%.errno=5,%.sector=16',
        '%.event=none,%.iotype=discard,%.errno=5,%.sector=128',
      ),
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

  it('killed with requests in flight: each settles once, none is lost', async () => {
    const disk = await start({ drive: slow, properties })
    const driver = await disk.open()
    const faults: string[] = []
    driver.on('fault', ({ code }) => faults.push(code))
    const settled = new Array<number>(200).fill(0)
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
    process.kill(disk.qemu.pid, 'SIGKILL')
    await Promise.all(all)
    expect(settled).toEqual(new Array(200).fill(1))
    expect(codes.length).toBeGreaterThan(0)
    expect(new Set(codes)).toEqual(new Set(['device.gone']))
    expect(faults).toEqual(['device.gone'])
    await expect(driver.read(0, 512)).rejects.toMatchObject({ code: 'device.gone' })
    await driver.close()
  })

  it('keeps the buffers of requests that were given up until they come back', async () => {
    const disk = await start({ drive: slow, properties })
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
})
