import type { BlockDriver } from '@virtio-ts/driver-block'
import { openFdCount } from '@virtio-ts/native'
import { afterEach, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { StorageDaemonDisk } from '../support/storage-daemon-disk.ts'

const BLOCK = 4096
const BLOCKS = 200
const KILLS = 5

/** What a block holds: each write of it is another one. */
const contentOf = (block: number, version: number): Uint8Array => {
  const content = new Uint8Array(BLOCK)
  new Uint32Array(content.buffer).fill(version * 65_536 + block)
  return content
}

/** The version a block holds, whole; -1 for a mixture. */
function versionOf(block: number, found: Uint8Array): number {
  const version = (new Uint32Array(found.buffer, found.byteOffset, 1)[0] ?? 0) >>> 16
  return Buffer.compare(found, contentOf(block, version)) === 0 ? version : -1
}

requirement('qemu-storage-daemon')('a back-end killed while it writes', () => {
  let disk: StorageDaemonDisk | undefined
  afterEach(() => disk?.close())

  it(`V6 ${KILLS} times with ${BLOCKS} writes in flight: the next one has what was written before, and nothing is torn`, async () => {
    disk = await StorageDaemonDisk.start({ queues: 2 })
    let driver: BlockDriver = await disk.open()
    /** Versions that were acknowledged, and flushed. */
    let safe = new Array<number>(BLOCKS).fill(0)
    for (let block = 0; block < BLOCKS; block++) await driver.write(block * BLOCK, contentOf(block, 0))
    await driver.flush()
    let fds: number | undefined
    for (let kill = 1; kill <= KILLS; kill++) {
      await Promise.all(safe.map((_, block) => driver.write(block * BLOCK, contentOf(block, 2 * kill - 1))))
      await driver.flush()
      safe = safe.map(() => 2 * kill - 1)
      const settled = new Array<number>(BLOCKS).fill(0)
      const codes = new Set<string>()
      const all = settled.map((_, block) =>
        driver.write(block * BLOCK, contentOf(block, 2 * kill)).then(
          () => settled[block]!++,
          ({ code }: { code: string }) => {
            settled[block]!++
            codes.add(code)
          },
        ),
      )
      // The daemon has some of them by then, or none, or all: whichever it is, each must settle once.
      await new Promise((resolve) => setImmediate(resolve))
      await disk.kill()
      await Promise.all(all)
      expect(settled).toEqual(new Array(BLOCKS).fill(1))
      expect([...codes].filter((code) => code !== 'device.gone')).toEqual([])
      await driver.close()
      await disk.launchAgain()
      driver = await disk.open()
      for (const [block, version] of safe.entries()) {
        const found = versionOf(block, await driver.read(block * BLOCK, BLOCK))
        if (found !== version && found !== version + 1)
          expect([block, found]).toEqual([block, `${version}, or one more`])
        safe[block] = found
      }
      fds ??= openFdCount()
      expect(openFdCount()).toBe(fds)
    }
    await driver.close()
  })

  it('is waited for by an endpoint, and finds the driver as it was made: no request of before is repeated', async () => {
    disk = await StorageDaemonDisk.start({ slow: true })
    const driver = await disk.open()
    const outcomes = Promise.allSettled(
      Array.from({ length: BLOCKS }, (_, block) => driver.write(block * BLOCK, contentOf(block, 1))),
    )
    const gone = new Promise<void>((resolve) => driver.on('fault', () => resolve()))
    await disk.kill()
    await gone
    const lost = (await outcomes).flatMap(({ status }, block) => (status === 'rejected' ? [block] : []))
    expect(lost.length).toBeGreaterThan(BLOCKS / 2)
    await driver.close()
    const next = disk.open()
    await disk.launchAgain({ slow: false })
    const again = await next
    expect(again.stats()).toMatchObject({ writes: 0, in_flight: 0 })
    // What was rejected may be written once more, and is then there.
    for (const block of lost) await again.write(block * BLOCK, contentOf(block, 2))
    await again.flush()
    for (const block of lost) expect(versionOf(block, await again.read(block * BLOCK, BLOCK))).toBe(2)
    await again.close()
  })
})
