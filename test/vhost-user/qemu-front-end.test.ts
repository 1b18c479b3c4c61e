import { mkdtempSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { blockMix } from '@virtio-ts/conformance'
import { BlockDriver } from '@virtio-ts/driver-block'
import { NetDriver } from '@virtio-ts/driver-net'
import { RngDriver } from '@virtio-ts/driver-rng'
import { QemuBench } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { BackEndProgram } from '../support/back-end-program.ts'
import { DiskImage } from '../support/disk-image.ts'
import { until } from './hostile-bench.ts'

/** QEMU 7.2 ends by SIGSEGV at DRIVER_OK when a vhost device has MSI-X vectors and there is no KVM. */
const withoutMsix = { ivshmemVectors: 0 }

// A front-end that nobody here wrote: the driver talks to QEMU's PCI device, and QEMU to the model. The model is in a process of its own, as
// QEMU answers no register access while it waits for its back-end.
requirement('qemu')("device models before QEMU's front-end", () => {
  let folder = ''
  const programs: BackEndProgram[] = []
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-qemu-front-end-'))
  })
  afterEach(async () => {
    for (const program of programs.splice(0)) await program.kill()
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  async function serve(name: string, type: string, words: readonly string[] = []): Promise<string> {
    const path = join(folder, name)
    programs.push(await BackEndProgram.launch(path, [type, ...words]))
    return path
  }

  it('give random bytes through vhost-user-rng-pci', async () => {
    const path = await serve('rng', 'rng')
    const bench = await QemuBench.start({
      ...withoutMsix,
      chardevs: [`socket,id=c0,path=${path}`],
      devices: ['vhost-user-rng-pci,chardev=c0'],
    })
    try {
      for (let n = 0; n < 3; n++) {
        const rng = await RngDriver.open(await VirtioPciDriver.attach(bench.function(0)))
        const bytes = await rng.randomFill(new Uint8Array(1000))
        expect(new Set(bytes).size).toBeGreaterThan(200)
        await rng.close()
      }
    } finally {
      await bench.close()
    }
  })

  it('move packets through virtio-net-pci', async () => {
    const path = await serve('net', 'net')
    const bench = await QemuBench.start({
      ...withoutMsix,
      chardevs: [`socket,id=c0,path=${path}`],
      netdevs: ['vhost-user,id=n0,chardev=c0'],
      devices: ['virtio-net-pci,netdev=n0,disable-legacy=on'],
    })
    try {
      for (let n = 0; n < 2; n++) {
        const driver = await NetDriver.open(await VirtioPciDriver.attach(bench.function(0)))
        const { mac } = driver
        // Who has 10.0.0.1? Tell 10.0.0.2.
        const question = Uint8Array.of(
          ...[255, 255, 255, 255, 255, 255, ...mac, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
          ...[...mac, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1],
        )
        let answers = 0
        driver.onReceive(() => {
          const take = (): number =>
            driver.receive((packet) => {
              if (packet.toFrame()[21] === 2) answers++
            }, 16)
          while (take() > 0 || driver.armReceive());
        })
        driver.armReceive()
        for (let count = 1; count <= 50; count++) {
          expect(driver.send(question)).toBe(true)
          await until(() => answers === count, `answer ${count}`, 20_000)
        }
        await driver.close()
      }
    } finally {
      await bench.close()
    }
  })

  describe('keep a disk behind vhost-user-blk-pci', () => {
    let image: DiskImage
    let bench: QemuBench | undefined
    beforeEach(() => {
      image = new DiskImage()
    })
    afterEach(async () => {
      await bench?.close()
      bench = undefined
      image.remove()
    })

    const start = (path: string, more = '', chardev = ''): Promise<QemuBench> =>
      QemuBench.start({
        ...withoutMsix,
        chardevs: [`socket,id=c0,path=${path}${chardev}`],
        devices: [`vhost-user-blk-pci,chardev=c0,disable-legacy=on${more}`],
      })

    it.each([
      ['split', [], '', ['DISCARD', 'WRITE_ZEROES', 'FLUSH', 'CONFIG_WCE'], 1],
      ['packed, four queues', ['--packed', '--num-queues=4'], ',packed=on,num-queues=4', ['RING_PACKED', 'MQ'], 4],
    ] as const)(
      '%s: agrees with a copy after 10,000 operations, and so does the image',
      async (ring, words, more, has, queues) => {
        const path = await serve(`disk-${ring.slice(0, 5)}`, 'block', [`--blk-file=${image.path}`, ...words])
        bench = await start(path, more)
        const driver = await BlockDriver.open(await VirtioPciDriver.attach(bench.function(0)))
        expect(driver.describe().features).toEqual(expect.arrayContaining([...has]))
        expect(driver.describe().queues.length).toBe(queues)
        await blockMix(driver, { operations: 10_000, seed: 7 })
        const whole = await driver.read(0, driver.capacity)
        await driver.close()
        expect(Buffer.compare(image.stored(0, whole.length), whole)).toBe(0)
      },
    )

    it('tell of a new size, and take a switch of the cache', async () => {
      const path = await serve('disk-resize', 'block', [`--blk-file=${image.path}`])
      bench = await start(path)
      const driver = await BlockDriver.open(await VirtioPciDriver.attach(bench.function(0)))
      expect(driver.cache).toBe('writeback')
      await driver.setWriteCache('writethrough')
      expect(driver.cache).toBe('writethrough')
      const told = new Promise<number>((resolve) => driver.on('resize', resolve))
      truncateSync(image.path, 32 * 2 ** 20)
      programs[0]?.signal('SIGHUP')
      expect(await told).toBe(32 * 2 ** 20)
      await driver.close()
    })

    it('V6 are taken up again by QEMU after SIGTERM and after SIGKILL: no request is lost', async () => {
      const words = ['block', `--blk-file=${image.path}`]
      const path = join(folder, 'disk-again')
      let program = await BackEndProgram.launch(path, words)
      programs.push(program)
      bench = await start(path, '', ',reconnect=1')
      const driver = await BlockDriver.open(await VirtioPciDriver.attach(bench.function(0)), { watchdog: 100 })
      for (let round = 1; round <= 6; round++) {
        await driver.write(0, new Uint8Array(2 ** 20).fill(round))
        // QEMU keeps the requests of a back-end that is away: they settle once there is another one.
        const during = Array.from({ length: 32 }, (_, n) =>
          driver.write(2 ** 20 + n * 4096, new Uint8Array(4096).fill(round)),
        )
        // Whether it ends well or not at all.
        if (round % 2 === 1) expect(await program.terminate()).toBe(0)
        else await program.kill()
        const later = Array.from({ length: 32 }, (_, n) =>
          driver.write(2 ** 21 + n * 4096, new Uint8Array(4096).fill(round)),
        )
        program = await BackEndProgram.launch(path, words)
        programs.push(program)
        await Promise.all([...during, ...later])
        const found = await driver.read(0, 2 ** 21 + 32 * 4096)
        for (const [from, length] of [
          [0, 2 ** 20],
          [2 ** 20, 32 * 4096],
          [2 ** 21, 32 * 4096],
        ] as const)
          expect(found.subarray(from, from + length).every((byte) => byte === round)).toBe(true)
      }
      await driver.close()
    }, 60_000)
  })
})
