import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { memoryIo } from '@virtio-ts/command-line/memory-io'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeKernel } from '../../../../packages/pci/src/fake-kernel.fixture.ts'
import { FakeNetwork } from '../takeover/fake-network.fixture.ts'
import { Journal } from '../takeover/journal.ts'
import { lock, type TakeoverHost, thisHost } from '../takeover/takeover-host.ts'
import { bind } from './bind.ts'
import { release } from './release.ts'

const address = '0000:00:04.0'
let folder: string
let kernel: FakeKernel
let host: TakeoverHost
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'netd-bind-'))
  kernel = new FakeKernel()
  kernel.file(`bus/pci/devices/${address}/vendor`, '0x1af4\n')
  kernel.file(`bus/pci/devices/${address}/device`, '0x1041\n')
  kernel.add(address, { driver: 'virtio-pci', group: 1 })
  const journal = new Journal(join(folder, 'virtio-ts/taken'))
  host = {
    ...thisHost(),
    roots: { sys: kernel.root, proc: join(folder, 'proc') },
    sysfs: kernel.sysfs,
    ip: new FakeNetwork().ip,
    journal,
    timeout: 200,
    whyNotWritable: () => undefined,
    loadModule: async () => {},
    settle: async () => {},
    usersOf: () => [],
    lock: (at, purpose) => lock(join(journal.directory, `${at}.lock`), purpose),
  }
})
afterEach(() => {
  kernel[Symbol.dispose]()
  rmSync(folder, { recursive: true })
})

const asked = { address, driver: 'vfio-pci', force: false, json: false } as const

describe('netd bind and netd release', () => {
  it('say on stderr what they did', async () => {
    const { io, stdout, stderr } = memoryIo()
    expect(await bind(asked, io, host)).toBe(0)
    expect(await bind(asked, io, host)).toBe(0)
    expect(await release({ address, json: false }, io, host)).toBe(0)
    expect(await release({ address, json: false }, io, host)).toBe(0)
    expect(await release({ address: undefined, json: false }, io, host)).toBe(0)
    expect(stdout()).toBe('')
    const bound = `netd: ${address} is bound to vfio-pci (before: virtio-pci); netd release ${address} gives it back`
    expect(stderr().trimEnd().split('\n')).toEqual([
      bound,
      bound,
      `netd: ${address} is back: virtio-pci`,
      `netd: nothing to give back: virtio-pci has ${address}`,
      'netd: nothing to give back: such a device was taken from nobody',
    ])
  })

  it('print JSON', async () => {
    const { io, stdout } = memoryIo()
    await bind({ ...asked, driver: 'none', json: true }, io, host)
    await release({ address, json: true }, io, host)
    await release({ address: undefined, json: true }, io, host)
    expect(
      stdout()
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual([
      { address, driver: 'none', formerDriver: 'virtio-pci', interfaces: [] },
      { address, driver: 'virtio-pci', released: true, interfaces: [] },
      { address: null, driver: null, released: false, interfaces: [] },
    ])
  })
})
