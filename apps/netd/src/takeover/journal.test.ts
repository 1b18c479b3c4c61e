import { chmodSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeKernel } from '../../../../packages/pci/src/fake-kernel.fixture.ts'
import { Journal } from './journal.ts'
import { release, takeOver } from './take-over.ts'
import { address, TakeoverBench } from './takeover-bench.fixture.ts'

let kernel: FakeKernel
let bench: TakeoverBench
beforeEach(() => {
  kernel = new FakeKernel(['virtio-pci', 'vfio-pci', 'uio_pci_generic'])
  bench = new TakeoverBench(kernel)
})
afterEach(() => bench[Symbol.dispose]())

describe('the journal', () => {
  async function entryText(): Promise<string> {
    await takeOver(address, { by: 'bind' }, bench.host).then((taken) => taken.giveBack())
    return readFileSync(bench.journal.path(address), 'utf8')
  }

  it('is not read when somebody else may have written it', async () => {
    await entryText()
    kernel.writes.length = 0
    const refused = () => expect(release(address, bench.host)).rejects.toMatchObject({ code: 'takeover.journal' })
    chmodSync(bench.journal.path(address), 0o620)
    await refused()
    chmodSync(bench.journal.path(address), 0o600)
    chmodSync(bench.journal.directory, 0o777)
    await refused()
    chmodSync(bench.journal.directory, 0o700)
    Object.assign(bench.host, { journal: new Journal(bench.journal.directory, 12345) })
    await refused()
    Object.assign(bench.host, { journal: bench.journal })
    renameSync(bench.journal.path(address), join(bench.folder, 'elsewhere'))
    symlinkSync(join(bench.folder, 'elsewhere'), bench.journal.path(address))
    await refused()
    expect(kernel.writes).toEqual([])
  })

  it.each<[string, string, unknown]>([
    ['another version', 'version', 2],
    ['another address', 'address', '0000:00:05.0'],
    ['a driver that is a path', 'driver', '../../x'],
    ['a target nobody knows', 'boundTo', 'e1000e'],
    ['a field too many', 'run', 'rm -rf /'],
    ['a field too few', 'time', undefined],
    ['an interface that is an option', 'interfaces.0.name', '-force'],
    ['an interface that is a path', 'interfaces.0.name', '../eth0'],
    ['an MTU that is text', 'interfaces.0.mtu', '1400'],
    ['an address that is none', 'interfaces.0.addresses.0.local', '1.2.3'],
    ['a prefix too long', 'interfaces.0.addresses.0.prefix', 33],
    ['a scope that is two words', 'interfaces.0.addresses.0.scope', 'global dev'],
    ['a destination that is none', 'interfaces.0.routes.0.destination', '1.2.3.4/5/6'],
    ['a gateway of the other family', 'interfaces.0.routes.0.hops.0.gateway', 'fe80::1'],
    ['a route without a hop', 'interfaces.0.routes.0.hops', []],
    ['a metric nobody knows', 'interfaces.0.routes.0.metrics', [{ name: 'exec', value: 1 }]],
    ['no list of interfaces', 'interfaces', {}],
  ])('with %s does nothing at all', async (_, path, value) => {
    const entry: unknown = JSON.parse(await entryText())
    const names = path.split('.')
    const last = names.pop() as string
    const parent = names.reduce((object, name) => (object as Record<string, object>)[name] as object, entry as object)
    Object.assign(parent, { [last]: value })
    writeFileSync(bench.journal.path(address), JSON.stringify(entry))
    kernel.writes.length = 0
    bench.network.commands.length = 0
    await expect(release(address, bench.host)).rejects.toMatchObject({ code: 'takeover.journal' })
    await expect(takeOver(address, {}, bench.host)).rejects.toMatchObject({ code: 'takeover.journal' })
    expect([kernel.writes, bench.network.commands, bench.driver]).toEqual([[], [], 'vfio-pci'])
  })

  it('that is no JSON, or far too long, does nothing either', async () => {
    await entryText()
    for (const text of ['', '[]', 'null', '{"version":1', 'x'.repeat((1 << 20) + 1)]) {
      writeFileSync(bench.journal.path(address), text)
      await expect(release(address, bench.host)).rejects.toMatchObject({ code: 'takeover.journal' })
    }
    expect(bench.driver).toBe('vfio-pci')
  })
})
