import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SysfsFiles } from '@virtio-ts/pci/binding'
import { FakeNetwork } from './fake-network.fixture.ts'
import { Journal } from './journal.ts'
import { lock, type TakeoverHost, thisHost } from './takeover-host.ts'

/** The FakeKernel of @virtio-ts/pci, which only tests may import from there. */
interface Kernel extends Disposable {
  readonly root: string
  readonly sysfs: SysfsFiles
  onBinding: (address: string, driver: string | undefined) => void
  onWrite: (path: string, when: 'before' | 'after') => void | Promise<void>
  add(address: string, options: { readonly driver: string; readonly group: number }): void
  file(path: string, content: string): void
  remove(path: string): void
}

/** Its NIC. */
export const address = '0000:00:04.0'

const mac = '52:54:00:12:34:56'

/** A machine with one NIC, eth0, that has addresses and routes; what is called `eth0` goes with the NIC's driver and comes back bare. */
export class TakeoverBench implements Disposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'netd-taken-'))
  readonly network: FakeNetwork = new FakeNetwork()
  readonly journal: Journal = new Journal(join(this.folder, 'virtio-ts', 'taken'))
  readonly host: { -readonly [K in keyof TakeoverHost]: TakeoverHost[K] }
  readonly #kernel: Kernel
  /** What the kernel calls the interface the next time. */
  nextName = 'eth0'
  /** And what it calls it now. */
  #ownName = ''

  constructor(kernel: Kernel) {
    this.#kernel = kernel
    const { network, journal } = this
    const net = (name: string): string => `bus/pci/devices/${address}/virtio0/net/${name}/mtu`
    const forget = (): void => kernel.remove(`bus/pci/devices/${address}/virtio0`)
    kernel.onBinding = (at, driver) => {
      if (at !== address) return
      if (driver === 'virtio-pci') {
        kernel.file(net(this.nextName), '')
        network.appear(this.nextName, mac)
        this.#ownName = this.nextName
      } else if (driver === undefined) {
        forget()
        network.vanish(this.#ownName)
        this.#ownName = ''
      }
    }
    network.onRename = (from, to) => {
      if (from !== this.#ownName) return
      this.#ownName = to
      forget()
      kernel.file(net(to), '')
    }
    this.host = {
      ...thisHost(),
      roots: { sys: kernel.root, proc: join(this.folder, 'proc') },
      sysfs: kernel.sysfs,
      ip: network.ip,
      journal,
      timeout: 200,
      removalTime: 200,
      whyNotWritable: () => undefined,
      loadModule: async () => {},
      settle: async () => {},
      freeMemory: () => {},
      usersOf: () => [],
      lock: (at, purpose) => lock(join(journal.directory, `${at}.lock`), purpose),
    }
    this.addFunction(address, 4)
    configure(network)
  }

  addFunction(at: string, group: number, device = '0x1041'): void {
    this.#kernel.file(`bus/pci/devices/${at}/vendor`, '0x1af4\n')
    this.#kernel.file(`bus/pci/devices/${at}/device`, `${device}\n`)
    this.#kernel.add(at, { driver: 'virtio-pci', group })
  }

  /** Makes a default route go over eth0. */
  defaultRoute(): void {
    mkdirSync(join(this.folder, 'proc/net'), { recursive: true })
    writeFileSync(
      join(this.folder, 'proc/net/route'),
      'Iface\tDestination\neth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n',
    )
  }

  get driver(): string | undefined {
    return this.#kernel.sysfs.linkName(`bus/pci/devices/${address}/driver`)
  }

  /** Lets the process end at the n-th step that changes something: from then on nothing is done any more, until it is revived. */
  killAt(step: number): { revive(): void } {
    let seen = 0
    let dead = false
    let over = false
    const reach = (): void => {
      if (over) return
      if (dead || ++seen === step) {
        dead = true
        throw new Error('killed here')
      }
    }
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
    this.#kernel.onWrite = reach
    this.network.onCommand = reach
    this.host.journal = new MortalJournal(this.journal.directory)
    return {
      revive: () => {
        over = true
        this.#kernel.onWrite = () => {}
        this.network.onCommand = () => {}
        this.host.journal = this.journal
      },
    }
  }

  [Symbol.dispose](): void {
    this.#kernel[Symbol.dispose]()
    rmSync(this.folder, { recursive: true })
  }
}

function configure(network: FakeNetwork): void {
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
