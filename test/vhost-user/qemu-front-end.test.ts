import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { NetDriver } from '@virtio-ts/driver-net'
import { RngDriver } from '@virtio-ts/driver-rng'
import { QemuBench } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { until } from './hostile-bench.ts'

const program = fileURLToPath(new URL('../../examples/vhost-user-back-end.mjs', import.meta.url))
const hook = new URL('../../packages/qemu/src/load-typescript.fixture.mjs', import.meta.url).href
const register = `data:text/javascript,import{register}from"node:module";register(${JSON.stringify(hook)})`

/** QEMU 7.2 ends by SIGSEGV at DRIVER_OK when a vhost device has MSI-X vectors and there is no KVM. */
const withoutMsix = { ivshmemVectors: 0 }

// A front-end that nobody here wrote: the driver talks to QEMU's PCI device, and QEMU to the model. The model is in a process of its own, as
// QEMU answers no register access while it waits for its back-end.
requirement('qemu')("device models before QEMU's front-end", () => {
  let folder = ''
  const children: ChildProcess[] = []
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-qemu-front-end-'))
  })
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  async function serve(name: string, type: 'net' | 'rng'): Promise<string> {
    const path = join(folder, name)
    const node = ['--conditions=@virtio-ts/source', '--import', register, program]
    children.push(spawn(process.execPath, [...node, `--socket-path=${path}`, `--type=${type}`], { stdio: 'ignore' }))
    await until(() => existsSync(path), 'the back-end listens', 20_000)
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
})
