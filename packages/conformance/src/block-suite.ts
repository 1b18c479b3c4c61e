import type { BlockDriver, BlockOptions } from '@virtio-ts/driver-block'
import { afterEach, describe, expect, it } from 'vitest'
import { blockMix } from './block-mix.ts'

/** A driver on a disk of the caller's choosing: at least 1 MiB, whose content does not matter. */
export interface BlockBench {
  readonly disk: BlockDriver
  /** What is on the disk, seen from the device's side, after a flush. */
  stored?(offset: number, length: number): Uint8Array
  /** Bytes of storage taken. */
  allocated?(): number
  /** Gives the disk another size, in bytes. */
  resize?(capacity: number): void | Promise<void>
  /** What the device found the driver do against the specification. */
  violations?(): readonly unknown[]
  /** Bytes of the device's memory that were not given back. */
  allocatedBytes?(): number
  /** Ends what the driver stands on; called after `disk.close()`. */
  dispose?(): Promise<void>
}

export interface BlockSuiteOptions {
  /** A new driver; each test has its own. */
  open(options?: BlockOptions): Promise<BlockBench>
  readonly blockSize?: number
  /** What `deviceId()` says. */
  readonly id?: string
  /** Random operations. @defaultValue 400 */
  readonly operations?: number
}

/** What the block driver does on every disk, whatever is behind it. */
export function blockSuite(name: string, options: BlockSuiteOptions): void {
  describe(`${name}: block`, () => {
    const benches: BlockBench[] = []
    const blockSize = options.blockSize ?? 512

    async function open(driverOptions: BlockOptions = {}): Promise<BlockBench> {
      const bench = await options.open(driverOptions)
      benches.push(bench)
      return bench
    }

    afterEach(async () => {
      for (const bench of benches.splice(0)) {
        await bench.disk.close()
        expect(bench.violations?.() ?? []).toEqual([])
        expect(bench.allocatedBytes?.() ?? 0).toBe(0)
        await bench.dispose?.()
      }
    })

    const bytes = (length: number, seed: number): Uint8Array =>
      Uint8Array.from({ length }, (_, n) => (n * 11 + (n >> 9) * 5 + seed) & 0xff)

    it('states its measures', async () => {
      const { disk } = await open()
      expect(disk.blockSize).toBe(blockSize)
      expect(disk.capacity).toBeGreaterThanOrEqual(2 ** 20)
      expect(disk.describe().block).toMatchObject({ blockSize, capacity: disk.capacity, readOnly: false })
      if (options.id !== undefined) expect(await disk.deviceId()).toBe(options.id)
    })

    it('reads what was written, in the first block, the last, and across the whole', async () => {
      const { disk, stored } = await open()
      for (const offset of [0, disk.capacity - blockSize]) {
        const data = bytes(blockSize, offset & 0xff)
        await disk.write(offset, data)
        expect(await disk.read(offset, blockSize)).toEqual(data)
        await disk.flush()
        if (stored) expect(Buffer.compare(stored(offset, blockSize), data)).toBe(0)
      }
      const whole = bytes(2 ** 20, 3)
      await disk.write(0, whole)
      expect(Buffer.compare(await disk.read(0, 2 ** 20), whole)).toBe(0)
    })

    it(`agrees with a copy after ${options.operations ?? 400} random operations`, async () => {
      const { disk } = await open()
      await blockMix(disk, { operations: options.operations ?? 400, seed: 1 })
    })

    it('agrees with a copy without any feature it can do without, and polled', async () => {
      const withoutFeatures = [
        'SIZE_MAX',
        'SEG_MAX',
        'FLUSH',
        'TOPOLOGY',
        'CONFIG_WCE',
        'MQ',
        'DISCARD',
        'WRITE_ZEROES',
      ]
      const { disk } = await open({
        withoutFeatures: [...withoutFeatures, 'INDIRECT_DESC', 'EVENT_IDX', 'RING_RESET'],
        interrupts: 'none',
      })
      await blockMix(disk, { operations: 200, seed: 2 })
    })

    it('agrees with a copy with little memory and few requests at a time', async () => {
      const { disk } = await open({ stagingMemory: 32768, maxInFlight: 3, queueSize: 8 })
      await blockMix(disk, { operations: 200, seed: 3, lanes: 4 })
      expect(disk.stats()).toMatchObject({ held: 0, waiting: 0, in_flight: 0 })
    })

    it('zeroes, with and without giving storage back', async () => {
      const { disk } = await open()
      const length = 64 * blockSize
      if (!disk.features.has('WRITE_ZEROES')) {
        await expect(disk.writeZeroes(0, length)).rejects.toMatchObject({ code: 'block.unsupported' })
        return
      }
      for (const unmap of [false, true]) {
        await disk.write(0, bytes(length + 2 * blockSize, 9))
        await disk.writeZeroes(blockSize, length, { unmap })
        const found = await disk.read(0, length + 2 * blockSize)
        expect(found.subarray(0, blockSize)).toEqual(bytes(blockSize, 9))
        expect(found.subarray(blockSize, -blockSize).every((byte) => byte === 0)).toBe(true)
        expect(found.subarray(-blockSize)).toEqual(bytes(length + 2 * blockSize, 9).subarray(-blockSize))
      }
    })

    it('streams, both ways', async () => {
      const { disk } = await open()
      const data = bytes(700_001, 5)
      const start = 3 * blockSize
      await disk.write(start + 700_001 - (700_001 % blockSize), bytes(blockSize, 77))
      const writer = disk.writable({ start }).getWriter()
      for (let at = 0; at < data.length; at += 30_011) await writer.write(data.subarray(at, at + 30_011))
      await writer.close()
      const end = start + Math.ceil(data.length / blockSize) * blockSize
      const chunks: Uint8Array[] = []
      for await (const chunk of disk.readable({ start, end, chunkSize: 65536 })) chunks.push(chunk)
      const found = Buffer.concat(chunks)
      expect(found.length).toBe(end - start)
      expect(found.subarray(0, data.length).equals(data)).toBe(true)
      // What stood behind the stream in its last block still does.
      const rest = found.length - data.length
      if (rest > 0) expect(found.subarray(-rest)).toEqual(Buffer.from(bytes(blockSize, 77).subarray(-rest)))
    })

    it('is told of another size', async () => {
      const { disk, resize } = await open()
      if (!resize) return
      const { capacity } = disk
      const told = new Promise((resolve) => disk.on('resize', resolve))
      await resize(capacity * 2)
      expect(await told).toBe(capacity * 2)
      await disk.write(capacity * 2 - blockSize, bytes(blockSize, 1))
      expect(await disk.read(capacity * 2 - blockSize, blockSize)).toEqual(bytes(blockSize, 1))
    })

    it('gives up a read that is aborted, and goes on', async () => {
      const { disk } = await open()
      const abort = new AbortController()
      const read = disk.read(0, 2 ** 20, { signal: abort.signal })
      abort.abort(new Error('enough'))
      await expect(read).rejects.toThrow('enough')
      await disk.write(0, bytes(blockSize, 8))
      expect(await disk.read(0, blockSize)).toEqual(bytes(blockSize, 8))
    })
  })
}
