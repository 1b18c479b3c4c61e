import { fstatSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BalloonDriver, type BalloonOptions, DmaPageSource } from '@virtio-ts/driver-balloon'
import { QemuBench, type QemuBenchOptions } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, describe, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'

const MiB = 1024 * 1024
const PAGES = MiB / 4096
const MEMORY = 64 * MiB

const faces = [
  ['modern', 'virtio-balloon-pci,disable-legacy=on', 'auto'],
  ['transitional, by its legacy interface', 'virtio-balloon-pci', 'legacy'],
  [
    'legacy without EVENT_IDX and INDIRECT_DESC',
    'virtio-balloon-pci,disable-modern=on,event_idx=off,indirect_desc=off',
    'auto',
  ],
  ['packed', 'virtio-balloon-pci,disable-legacy=on,packed=on', 'auto'],
] as const

requirement('qemu')('the balloon of QEMU', () => {
  let bench: QemuBench
  let source: DmaPageSource
  let driver: BalloonDriver

  async function open(
    device: string,
    options: Partial<BalloonOptions> = {},
    more: Partial<QemuBenchOptions> & { free?: number; interface?: 'auto' | 'legacy' } = {},
  ): Promise<void> {
    bench = await QemuBench.start({ ...more, memory: MEMORY, devices: [`${device},id=balloon`] })
    source = new DmaPageSource(bench.dma, { free: more.free ?? 0 })
    const transport = await VirtioPciDriver.attach(bench.function('balloon'), { interface: more.interface ?? 'auto' })
    driver = await BalloonDriver.open(transport, { pages: source, reportInterval: 0, ...options })
  }

  afterEach(async () => {
    await driver.close()
    expect(await memoryLeft()).toBe(MEMORY)
    expect(source.taken).toBe(0)
    source.release()
    expect(bench.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await bench.close()
  })

  /** 512-byte blocks of the file behind QEMU's memory. */
  function blocks(): number {
    const region = bench.dma.allocate(1)
    const { blocks } = fstatSync(region.file!.fd)
    bench.dma.free(region)
    return blocks
  }

  /** What QEMU says the machine has left. */
  async function memoryLeft(): Promise<number> {
    return (await bench.qmp.execute<{ actual: number }>('query-balloon')).actual
  }

  /** Has QEMU ask for a machine of so many bytes, and waits until it is one. */
  async function resize(bytes: number): Promise<void> {
    await bench.qmp.execute('balloon', { value: bytes })
    await untilLeft(bytes)
  }

  /** QEMU's event BALLOON_CHANGE comes once a second at most. */
  async function untilLeft(bytes: number): Promise<void> {
    while ((await memoryLeft()) !== bytes) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  describe.each(faces)('%s', (_name, device, wanted) => {
    it('shrinks and grows, and QEMU agrees', async () => {
      await open(device, {}, { interface: wanted })
      expect(driver.describe().interrupts).toBe('intx')
      await resize(MEMORY - 16 * MiB)
      expect(await memoryLeft()).toBe(MEMORY - 16 * MiB)
      expect(driver).toMatchObject({ target: 16 * PAGES, actual: 16 * PAGES })
      expect(source.taken).toBe(16 * PAGES)
      await resize(MEMORY - 3 * MiB)
      expect(await memoryLeft()).toBe(MEMORY - 3 * MiB)
      expect(source.taken).toBe(3 * PAGES)
    })
  })

  it('the memory behind the pages really goes', async () => {
    await open('virtio-balloon-pci')
    // Every page in use once, so that there is something to lose.
    const used = bench.dma.allocate(32 * MiB)
    used.bytes.fill(0xa5)
    bench.dma.free(used)
    const before = blocks()
    expect(before * 512).toBeGreaterThan(32 * MiB)
    await resize(MEMORY - 32 * MiB)
    const after = blocks()
    expect((before - after) * 512).toBeGreaterThan(31 * MiB)
    await resize(MEMORY)
    expect(driver.actual).toBe(0)
    const again = bench.dma.allocate(32 * MiB)
    again.bytes.fill(0x5a)
    expect(again.bytes.every((byte) => byte === 0x5a)).toBe(true)
    bench.dma.free(again)
  })

  it('gives what there is when the device wants more, and the rest when there is more', async () => {
    await open('virtio-balloon-pci', { retryInterval: 50 })
    const kept = bench.dma.allocate(40 * MiB)
    const short = new Promise<number>((resolve) => driver.on('short', resolve))
    await bench.qmp.execute('balloon', { value: MEMORY - 40 * MiB })
    expect(await short).toBeGreaterThan(15 * PAGES)
    expect(driver.actual).toBeLessThan(24 * PAGES)
    bench.dma.free(kept)
    await untilLeft(MEMORY - 40 * MiB)
    expect(driver.actual).toBe(40 * PAGES)
  })

  it('fills guest-stats, and again when asked again', async () => {
    let free = 1_000_000_000_000
    await open('virtio-balloon-pci', {
      statistics: () => ({ free: free++, total: 2n ** 40n, available: 3, majorFaults: 4, caches: 5 }),
    })
    const path = '/machine/peripheral/balloon'
    interface GuestStats {
      'last-update': number
      stats: Record<string, number>
    }
    const read = (): Promise<GuestStats> => bench.qmp.execute('qom-get', { path, property: 'guest-stats' })
    await bench.qmp.execute('qom-set', { path, property: 'guest-stats-polling-interval', value: 1 })
    let last = 0
    for (let seen = 0; seen < 2; await new Promise((resolve) => setTimeout(resolve, 50))) {
      const { stats } = await read()
      const now = stats['stat-free-memory'] ?? 0
      if (now < 1_000_000_000_000 || now === last) continue
      last = now
      seen++
      expect(stats).toMatchObject({
        'stat-total-memory': 2 ** 40,
        'stat-available-memory': 3,
        'stat-major-faults': 4,
        'stat-disk-caches': 5,
      })
      // All-ones: nothing was said.
      expect(stats['stat-swap-in']).toBe(2 ** 64 - 1)
    }
  })

  it('reports free memory on the queue that QEMU has for it, and that memory goes', async () => {
    await open('virtio-balloon-pci,free-page-reporting=on', {}, { free: 16 * MiB })
    expect(driver.describe().queues.map(({ name, index }) => [name, index])).toEqual([
      ['inflateq', 0],
      ['deflateq', 1],
      // 2 is statsq, which QEMU always has, and which this driver has nothing to say on.
      ['reporting_vq', 3],
    ])
    const before = blocks()
    const reported = await driver.report()
    expect(reported).toBe(16 * MiB)
    // Taken out of use for the report, and so in memory, until QEMU let it go.
    expect((blocks() - before) * 512).toBeLessThan(MiB)
    expect(await driver.report()).toBe(0)
  })

  it('reports on queue 4 where hinting is offered too', async () => {
    await open(
      'virtio-balloon-pci,free-page-reporting=on,free-page-hint=on,iothread=io',
      { statistics: () => ({ free: 1 }) },
      { free: MiB, objects: ['iothread,id=io'] },
    )
    expect(driver.describe().queues.map(({ name, index }) => [name, index])).toEqual([
      ['inflateq', 0],
      ['deflateq', 1],
      ['statsq', 2],
      ['free_page_vq', 3],
      ['reporting_vq', 4],
    ])
    expect(await driver.report()).toBe(MiB)
  })

  it('memory that is filled with a value keeps it', async () => {
    await open('virtio-balloon-pci,free-page-reporting=on', { poison: 0xaaaaaaaa }, { free: MiB })
    expect(driver.features.names).toContain('PAGE_POISON')
    expect(await driver.report()).toBe(MiB)
    await resize(MEMORY - MiB)
    const given: number[] = []
    const give = source.give.bind(source)
    source.give = (pages) => {
      given.push(...pages)
      for (const page of pages) expect(byteAt(page * 4096)).toBe(0xaa)
      give(pages)
    }
    await resize(MEMORY)
    expect(given).toHaveLength(PAGES)
  })

  it('takes pages back without being asked where DEFLATE_ON_OOM was agreed', async () => {
    await open('virtio-balloon-pci,deflate-on-oom=on')
    await resize(MEMORY - 4 * MiB)
    expect(await driver.release(2 * PAGES)).toBe(2 * PAGES)
    expect(await memoryLeft()).toBe(MEMORY - 2 * MiB)
    expect(driver).toMatchObject({ target: 4 * PAGES, actual: 2 * PAGES })
  })

  it('hints free memory when QEMU migrates, and not without', async () => {
    await open(
      'virtio-balloon-pci,free-page-hint=on,iothread=io',
      {},
      // The device behind our MSI-X vectors cannot be migrated; the balloon has none anyway.
      { free: 4 * MiB, objects: ['iothread,id=io'], ivshmemVectors: 0 },
    )
    expect(driver.stats()).toMatchObject({ hint_rounds: 0 })
    const folder = mkdtempSync(join(tmpdir(), 'virtio-ts-balloon-'))
    const sink = createServer((socket) => socket.on('error', () => {}).resume())
    try {
      await new Promise<void>((resolve) => sink.listen(join(folder, 's'), resolve))
      await bench.qmp.execute('migrate', { uri: `unix:${join(folder, 's')}` })
      const status = async (): Promise<string | undefined> =>
        (await bench.qmp.execute<{ status?: string }>('query-migrate')).status
      while (/setup|active|device/.test((await status()) ?? 'setup'))
        await new Promise((resolve) => setTimeout(resolve, 20))
      expect(await status()).toBe('completed')
      expect(driver.stats()['hint_rounds']).toBeGreaterThan(0)
      await bench.qmp.execute('cont')
    } finally {
      sink.close()
      rmSync(folder, { recursive: true })
    }
  })

  /** A byte of memory by its device address. */
  function byteAt(address: number): number | undefined {
    const region = bench.dma.allocate(1)
    const at = region.bytes.byteOffset + address - region.deviceAddress
    const byte = new Uint8Array(region.bytes.buffer)[at]
    bench.dma.free(region)
    return byte
  }
})
