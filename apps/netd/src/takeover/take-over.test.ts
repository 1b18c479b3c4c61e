import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeKernel } from '../../../../packages/pci/src/fake-kernel.fixture.ts'
import { FakeNetwork } from './fake-network.fixture.ts'
import { Journal } from './journal.ts'
import { type Released, release, type Taken, takeOver } from './take-over.ts'
import { lock, type TakeoverHost, thisHost } from './takeover-host.ts'

const address = '0000:00:04.0'
const mac = '52:54:00:12:34:56'
let folder: string
let kernel: FakeKernel
let network: FakeNetwork
let journal: Journal
let host: TakeoverHost
/** What the kernel calls the interface the next time. */
let nextName: string
/** And what it calls it now. */
let ownName = ''

function addFunction(at: string, group: number, device = '0x1041'): void {
  kernel.file(`bus/pci/devices/${at}/vendor`, '0x1af4\n')
  kernel.file(`bus/pci/devices/${at}/device`, `${device}\n`)
  kernel.add(at, { driver: 'virtio-pci', group })
}

function configure(): void {
  const eth0 = network.interfaces.get('eth0')
  if (!eth0) throw new Error('no eth0')
  Object.assign(eth0, {
    address: '02:00:00:00:00:99',
    mtu: 1400,
    master: 'br0',
    flags: ['BROADCAST', 'MULTICAST', 'UP'],
  })
  const forever = { valid_life_time: 0xffff_ffff, preferred_life_time: 0xffff_ffff }
  eth0.addr_info = [
    {
      family: 'inet',
      local: '10.0.2.15',
      prefixlen: 24,
      broadcast: '10.0.2.255',
      scope: 'global',
      label: 'eth0',
      ...forever,
    },
    { family: 'inet', local: '10.0.2.16', prefixlen: 24, scope: 'global', label: 'eth0:1', ...forever },
    { family: 'inet6', local: 'fec0::15', prefixlen: 64, scope: 'global', ...forever },
  ]
  const common = { dev: 'eth0', type: 'unicast', flags: [] }
  network.routes = [
    {
      ...common,
      family: 'inet',
      dst: '192.168.0.0/16',
      gateway: '10.9.9.9',
      table: 'main',
      protocol: 'static',
      scope: 'global',
      metric: 5,
    },
    {
      ...common,
      family: 'inet',
      dst: '10.9.9.9',
      table: '100',
      protocol: 'static',
      scope: 'link',
      prefsrc: '10.0.2.15',
    },
    { ...common, family: 'inet6', dst: 'fd00::/8', gateway: 'fec0::2', table: 'main', protocol: 'boot', metric: 1024 },
  ]
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'netd-taken-'))
  kernel = new FakeKernel(['virtio-pci', 'vfio-pci', 'uio_pci_generic'])
  network = new FakeNetwork()
  journal = new Journal(join(folder, 'virtio-ts', 'taken'))
  nextName = 'eth0'
  ownName = ''
  kernel.onBinding = (at, driver) => {
    if (at !== address) return
    if (driver === 'virtio-pci') {
      kernel.file(`bus/pci/devices/${at}/virtio0/net/${nextName}/mtu`, '')
      network.appear(nextName, mac)
      ownName = nextName
    } else if (driver === undefined) {
      kernel.remove(`bus/pci/devices/${at}/virtio0`)
      network.vanish(ownName)
      ownName = ''
    }
  }
  network.onRename = (from, to) => {
    if (from !== ownName) return
    ownName = to
    kernel.remove(`bus/pci/devices/${address}/virtio0`)
    kernel.file(`bus/pci/devices/${address}/virtio0/net/${to}/mtu`, '')
  }
  addFunction(address, 4)
  configure()
  host = {
    ...thisHost(),
    roots: { sys: kernel.root, proc: join(folder, 'proc') },
    sysfs: kernel.sysfs,
    ip: network.ip,
    journal,
    timeout: 200,
    removalTime: 200,
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

function defaultRoute(): void {
  mkdirSync(join(folder, 'proc/net'), { recursive: true })
  writeFileSync(
    join(folder, 'proc/net/route'),
    'Iface\tDestination\neth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n',
  )
}

const driver = (): string | undefined => kernel.sysfs.linkName(`bus/pci/devices/${address}/driver`)

class Killed extends Error {}

/** Counts every step that changes something, and lets the process end at one of them: from then on nothing is done any more. */
function killAt(step: number): { revive(): void } {
  let seen = 0
  let dead = false
  let over = false
  const reach = (): void => {
    if (over) return
    if (dead || ++seen === step) {
      dead = true
      throw new Killed('killed here')
    }
  }
  kernel.onWrite = reach
  network.onCommand = reach
  class MortalJournal extends Journal {
    override write(entry: Parameters<Journal['write']>[0]): void {
      reach()
      super.write(entry)
      reach()
    }
    override remove(at: string): void {
      reach()
      super.remove(at)
      reach()
    }
  }
  host = { ...host, journal: new MortalJournal(journal.directory) }
  return {
    revive() {
      over = true
      kernel.onWrite = () => {}
      network.onCommand = () => {}
      host = { ...host, journal }
    },
  }
}

describe('takeOver', () => {
  it('binds the function, and gives it back as it was', async () => {
    const before = network.state
    const taken = await takeOver('00:04.0', {}, host)
    expect([driver(), kernel.override(address)]).toEqual(['vfio-pci', 'vfio-pci'])
    expect(network.interfaces.size).toBe(0)
    expect(statSync(journal.path(address)).mode & 0o777).toBe(0o600)
    await taken.giveBack()
    expect([driver(), kernel.override(address)]).toEqual(['virtio-pci', '(null)'])
    expect(network.state).toEqual(before)
    expect(journal.addresses()).toEqual([])
    await taken.giveBack()
  })

  it('renames the interface back when the kernel calls it something else', async () => {
    const before = network.state
    nextName = 'ens4'
    const taken = await takeOver(address, {}, host)
    await taken.giveBack()
    expect(network.commands.slice(0, 2)).toEqual([
      'link set dev ens4 name eth0',
      'link set dev eth0 address 02:00:00:00:00:99',
    ])
    expect(network.state).toEqual(before)
  })

  it('gives everything to the interface under its new name when the old one is taken', async () => {
    nextName = 'ens4'
    const taken = await takeOver(address, {}, host)
    network.appear('eth0', '52:54:00:00:00:01')
    await expect(taken.giveBack()).rejects.toMatchObject({
      code: 'takeover.incomplete',
      why: ['the name eth0: RTNETLINK answers: File exists'],
    })
    expect(network.interfaces.get('ens4')?.addr_info).toHaveLength(3)
    expect(network.routes.map(({ dev }) => dev)).toEqual(['ens4', 'ens4', 'ens4'])
    // The entry is still there, and the rest can be done later.
    network.vanish('eth0')
    await release(address, host)
    expect(network.interfaces.has('eth0')).toBe(true)
    expect(journal.addresses()).toEqual([])
  })

  it('tells what could not be restored, and does the rest', async () => {
    const taken = await takeOver(address, {}, host)
    network.refusing = /mtu|10\.0\.2\.16/
    await expect(taken.giveBack()).rejects.toMatchObject({
      code: 'takeover.incomplete',
      why: [
        'the MTU 1400: RTNETLINK answers: Operation not permitted',
        'the address 10.0.2.16/24: RTNETLINK answers: Operation not permitted',
      ],
      fix: expect.stringContaining('netd release 0000:00:04.0'),
    })
    expect(network.routes).toHaveLength(3)
    expect(journal.addresses()).toEqual([address])
  })

  it('gives no address back whose time is over, and the others with what is left of it', async () => {
    const eth0 = network.interfaces.get('eth0')
    for (const [index, info] of (eth0?.addr_info ?? []).entries())
      Object.assign(info, { valid_life_time: [60, 3600, 0xffff_ffff][index], preferred_life_time: [60, 50, 10][index] })
    host = { ...host, now: () => 1_000_000 }
    const taken = await takeOver(address, {}, host)
    Object.assign(host, { now: () => 1_100_000 })
    await taken.giveBack()
    expect(network.interfaces.get('eth0')?.addr_info).toMatchObject([
      { local: '10.0.2.16', valid_life_time: 3500, preferred_life_time: 0 },
      { local: 'fec0::15', valid_life_time: 0xffff_ffff, preferred_life_time: 0 },
    ])
  })

  it('refuses a function with a default route, unless it is forced', async () => {
    defaultRoute()
    await expect(takeOver(address, {}, host)).rejects.toMatchObject({
      code: 'takeover.default-route',
      message: expect.stringContaining('eth0'),
      fix: expect.stringContaining('--force'),
    })
    expect([driver(), kernel.writes, journal.addresses()]).toEqual(['virtio-pci', [], []])
    await (await takeOver(address, { force: true }, host)).giveBack()
  })

  it('refuses what has a VLAN on top, which would not come back', async () => {
    kernel.link('class/net/eth0/master', '../br0')
    kernel.file('class/net/eth0/upper_br0/x', '')
    await (await takeOver(address, {}, host)).giveBack()
    kernel.file('class/net/eth0/upper_eth0.5/x', '')
    await expect(takeOver(address, {}, host)).rejects.toMatchObject({
      code: 'takeover.stacked',
      message: expect.stringContaining('eth0.5 on top of eth0'),
    })
    await (await takeOver(address, { force: true }, host)).giveBack()
  })

  it('refuses one whose interface is out of sight, in another network namespace', async () => {
    kernel.remove(`bus/pci/devices/${address}/virtio0/net/eth0`)
    kernel.link(`bus/pci/devices/${address}/virtio0/driver`, '../../../virtio/drivers/virtio_net')
    await expect(takeOver(address, {}, host)).rejects.toMatchObject({ code: 'takeover.namespace' })
    await (await takeOver(address, { force: true }, host)).giveBack()
  })

  it('refuses other devices than virtio network ones, and addresses that are none', async () => {
    addFunction('0000:00:05.0', 5, '0x1042')
    kernel.add('0000:00:06.0')
    const refusals = {
      '0000:00:05.0': 'takeover.not-network',
      '0000:00:06.0': 'takeover.not-network',
      '0000:00:07.0': 'binding.no-function',
      '../04.0': 'pci.address',
    }
    for (const [at, code] of Object.entries(refusals))
      await expect(takeOver(at, { force: true }, host)).rejects.toMatchObject({ code })
    expect(kernel.writes).toEqual([])
  })

  it('refuses a group with functions the kernel drives, and vfio-pci without an IOMMU', async () => {
    kernel.add('0000:00:08.0', { driver: 'uio_pci_generic', group: 4 })
    kernel.link(`kernel/iommu_groups/4/devices/${address}-x`, '.')
    await expect(takeOver(address, {}, host)).rejects.toMatchObject({
      code: 'takeover.group',
      why: ['0000:00:08.0 (uio_pci_generic)'],
    })
    kernel.remove(`bus/pci/devices/${address}/iommu_group`)
    await expect(takeOver(address, {}, host)).rejects.toMatchObject({ code: 'takeover.no-iommu' })
    await (await takeOver(address, { driver: 'uio_pci_generic' }, host)).giveBack()
    await (await takeOver(address, { driver: 'none' }, host)).giveBack()
    expect([driver(), kernel.override(address)]).toEqual(['virtio-pci', '(null)'])
    kernel.file('module/vfio/parameters/enable_unsafe_noiommu_mode', 'Y\n')
    await (await takeOver(address, {}, host)).giveBack()
  })

  it('says that it is not permitted before it tries', async () => {
    host = { ...host, whyNotWritable: () => 'EACCES' }
    await expect(takeOver(address, {}, host)).rejects.toMatchObject({
      code: 'takeover.permission',
      fix: expect.stringContaining('root'),
    })
    host = { ...host, whyNotWritable: () => 'EROFS' }
    await expect(takeOver(address, {}, host)).rejects.toMatchObject({ why: [expect.stringContaining('read-only')] })
  })

  it('is had by one at a time, and release says who that is', async () => {
    const taken = await takeOver(address, { purpose: 'netd run vfio:0000:00:04.0' }, host)
    const refusal = {
      code: 'takeover.in-use',
      message: `${address} is in use by pid ${process.pid}: netd run vfio:0000:00:04.0`,
    }
    await expect(takeOver(address, {}, host)).rejects.toMatchObject(refusal)
    await expect(release(address, host)).rejects.toMatchObject(refusal)
    expect(driver()).toBe('vfio-pci')
    await taken.giveBack()
  })

  it('neither takes nor releases what another program has open', async () => {
    const taken = await takeOver(address, {}, host)
    const asked: string[] = []
    const usersOf: TakeoverHost['usersOf'] = (paths) => {
      asked.push(...paths)
      return [{ pid: 4711, program: 'dpdk-testpmd', path: '/dev/vfio/4' }]
    }
    const busy = takeOver(address, {}, host).catch(() => {})
    await busy
    Object.assign(host, { usersOf })
    await expect(taken.giveBack()).rejects.toMatchObject({
      code: 'takeover.in-use',
      message: expect.stringContaining('dpdk-testpmd (pid 4711)'),
    })
    expect(asked).toContain('/dev/vfio/4')
    expect(driver()).toBe('vfio-pci')
  })

  it('undoes what it began when it cannot go on, or is told to stop', async () => {
    const before = network.state
    kernel.failing.add('vfio-pci')
    await expect(takeOver(address, {}, host)).rejects.toMatchObject({ code: 'binding.timeout' })
    expect([driver(), kernel.override(address), journal.addresses()]).toEqual(['virtio-pci', '(null)', []])
    kernel.failing.clear()
    const controller = new AbortController()
    kernel.onWrite = (path, when) => {
      if (path.endsWith('virtio-pci/unbind') && when === 'after') controller.abort(new Error('stop'))
    }
    await expect(takeOver(address, { signal: controller.signal }, host)).rejects.toThrow('stop')
    expect([driver(), kernel.override(address), journal.addresses()]).toEqual(['virtio-pci', '(null)', []])
    expect(network.state).toEqual(before)
  })

  it('leaves alone what somebody else bound', async () => {
    await kernel.sysfs.write(`bus/pci/devices/${address}/driver_override`, 'vfio-pci\n')
    await kernel.sysfs.write('bus/pci/drivers/virtio-pci/unbind', address)
    await kernel.sysfs.write('bus/pci/drivers_probe', address)
    kernel.writes.length = 0
    const taken = await takeOver(address, {}, host)
    expect(taken.entry).toBeUndefined()
    await taken.giveBack()
    expect([kernel.writes, driver()]).toEqual([[], 'vfio-pci'])
    await expect(release(address, host)).rejects.toMatchObject({ code: 'takeover.not-taken' })
  })

  it('keeps what bind took, whoever uses it meanwhile', async () => {
    const before = network.state
    await (await takeOver(address, { by: 'bind' }, host)).giveBack()
    expect(driver()).toBe('vfio-pci')
    await (await takeOver(address, {}, host)).giveBack()
    expect(driver()).toBe('vfio-pci')
    const { entry }: Released = await release(address, host)
    expect(entry?.interfaces.map(({ name }) => name)).toEqual(['eth0'])
    expect(network.state).toEqual(before)
    expect(await release(address, host)).toEqual({ address, driver: 'virtio-pci', entry: undefined })
  })
})

describe('a process that is killed', () => {
  it('at any step of taking: release brings everything back', async () => {
    const before = network.state
    let step = 1
    for (; ; step++) {
      const killing = killAt(step)
      const outcome: Taken | Error = await takeOver(address, {}, host).catch((error: Error) => error)
      killing.revive()
      if (!(outcome instanceof Error)) {
        await outcome.giveBack()
        break
      }
      expect(outcome.message).toContain('killed here')
      await release(address, host)
      expect([step, driver(), kernel.override(address), journal.addresses()]).toEqual([
        step,
        'virtio-pci',
        '(null)',
        [],
      ])
      expect(network.state).toEqual(before)
    }
    // The journal, the override, unbinding and probing, each before and after.
    expect(step).toBe(9)
  })

  it('at any step of taking: the next netd takes over, and gives back what was there before', async () => {
    const before = network.state
    for (let step = 1; step <= 8; step++) {
      const killing = killAt(step)
      await expect(takeOver(address, {}, host)).rejects.toThrow('killed here')
      killing.revive()
      const taken = await takeOver(address, {}, host)
      expect([driver(), network.interfaces.size]).toEqual(['vfio-pci', 0])
      await taken.giveBack()
      expect([step, driver(), kernel.override(address), journal.addresses()]).toEqual([
        step,
        'virtio-pci',
        '(null)',
        [],
      ])
      expect(network.state).toEqual(before)
    }
  })

  it('at any step of giving back: release does the rest, as does the next netd', async () => {
    const before = network.state
    for (const next of [() => release(address, host), async () => (await takeOver(address, {}, host)).giveBack()]) {
      let step = 1
      for (; ; step++) {
        await takeOver(address, { by: 'bind' }, host).then((taken) => taken.giveBack())
        const killing = killAt(step)
        nextName = step % 2 === 0 ? 'eth0' : 'ens4'
        const killed = await release(address, host).then(
          () => false,
          () => true,
        )
        killing.revive()
        if (!killed) break
        if (step % 3 === 0) await release(address, host)
        await next()
        if (driver() !== 'virtio-pci') await release(address, host)
        expect([step, driver(), kernel.override(address), journal.addresses()]).toEqual([
          step,
          'virtio-pci',
          '(null)',
          [],
        ])
        expect([step, network.state]).toEqual([step, before])
      }
      expect(step).toBeGreaterThan(25)
    }
  })
})

describe('the journal', () => {
  async function entryText(): Promise<string> {
    await takeOver(address, { by: 'bind' }, host).then((taken) => taken.giveBack())
    return readFileSync(journal.path(address), 'utf8')
  }

  it('is not read when somebody else may have written it', async () => {
    await entryText()
    kernel.writes.length = 0
    const refused = () => expect(release(address, host)).rejects.toMatchObject({ code: 'takeover.journal' })
    chmodSync(journal.path(address), 0o620)
    await refused()
    chmodSync(journal.path(address), 0o600)
    chmodSync(journal.directory, 0o777)
    await refused()
    chmodSync(journal.directory, 0o700)
    Object.assign(host, { journal: new Journal(journal.directory, 12345) })
    await refused()
    Object.assign(host, { journal })
    renameSync(journal.path(address), join(folder, 'elsewhere'))
    symlinkSync(join(folder, 'elsewhere'), journal.path(address))
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
    writeFileSync(journal.path(address), JSON.stringify(entry))
    kernel.writes.length = 0
    network.commands.length = 0
    await expect(release(address, host)).rejects.toMatchObject({ code: 'takeover.journal' })
    await expect(takeOver(address, {}, host)).rejects.toMatchObject({ code: 'takeover.journal' })
    expect([kernel.writes, network.commands, driver()]).toEqual([[], [], 'vfio-pci'])
  })

  it('that is no JSON, or far too long, does nothing either', async () => {
    await entryText()
    for (const text of ['', '[]', 'null', '{"version":1', 'x'.repeat((1 << 20) + 1)]) {
      writeFileSync(journal.path(address), text)
      await expect(release(address, host)).rejects.toMatchObject({ code: 'takeover.journal' })
    }
    expect(driver()).toBe('vfio-pci')
  })
})
