import { QemuError } from './qemu-error.ts'
import { QmpClient, type QmpWait } from './qmp-client.ts'

/** What `query-rx-filter` says of a network card. */
export interface RxFilter {
  readonly name: string
  readonly promiscuous: boolean
  readonly multicast: 'normal' | 'none' | 'all'
  readonly unicast: 'normal' | 'none' | 'all'
  readonly vlan: 'normal' | 'none' | 'all'
  readonly 'broadcast-allowed': boolean
  readonly 'multicast-overflow': boolean
  readonly 'unicast-overflow': boolean
  readonly 'main-mac': string
  readonly 'vlan-table': readonly number[]
  readonly 'unicast-table': readonly string[]
  readonly 'multicast-table': readonly string[]
}

/** What `x-query-virtio-status` says of a virtio device; more fields than these, and no promise of stability. */
export interface VirtioStatus {
  readonly 'device-id': number
  readonly name: string
  readonly 'num-vqs': number
  readonly broken: boolean
  readonly disabled: boolean
  readonly started: boolean
  readonly isr: number
  readonly status: { readonly statuses: readonly string[]; readonly 'unknown-statuses'?: number }
  readonly 'guest-features': { readonly transports: readonly string[]; readonly 'dev-features'?: readonly string[] }
  readonly 'host-features': { readonly transports: readonly string[]; readonly 'dev-features'?: readonly string[] }
  readonly [field: string]: unknown
}

/** One virtqueue as `x-query-virtio-queue-status` says. */
export interface VirtioQueueStatus {
  readonly 'queue-index': number
  readonly inuse: number
  readonly 'vring-num': number
  readonly 'vring-desc': number
  readonly 'vring-avail': number
  readonly 'vring-used': number
  readonly 'used-idx': number
  readonly 'last-avail-idx'?: number
  readonly 'shadow-avail-idx'?: number
  readonly 'signalled-used'?: number
  readonly 'signalled-used-valid': boolean
  readonly [field: string]: unknown
}

/** A PCI function as `query-pci` says. */
export interface QueriedPciFunction {
  readonly bus: number
  readonly slot: number
  readonly function: number
  readonly qdev_id: string
}

interface PciNode extends QueriedPciFunction {
  readonly pci_bridge?: { readonly devices?: readonly PciNode[] }
}

/** QMP with the commands that a bench of virtio devices needs. All of them throw as `execute` does. */
export class Qmp extends QmpClient {
  /** @param id of a network card or a netdev */
  async setLink(id: string, up: boolean): Promise<void> {
    await this.execute('set_link', { name: id, up })
  }

  /** Asks network cards to announce themselves, once unless told otherwise. @param ids all of them when left out */
  async announceSelf(ids?: readonly string[], rounds = 1): Promise<void> {
    const names = ids ?? [undefined]
    for (const name of names) {
      const interfaces = name === undefined ? {} : { interfaces: [name], id: name }
      await this.execute('announce-self', { initial: 50, max: 550, rounds, step: 50, ...interfaces })
    }
  }

  /** @param id of a network card */
  async queryRxFilter(id: string): Promise<RxFilter> {
    const [filter] = await this.execute<RxFilter[]>('query-rx-filter', { name: id })
    if (filter === undefined) throw new QemuError('qmp.error', `QEMU knows no receive filter of ${id}`)
    return filter
  }

  /** @param id of a virtio device that is a PCI function */
  virtioStatus(id: string): Promise<VirtioStatus> {
    return this.execute('x-query-virtio-status', { path: virtioPath(id) })
  }

  /** @param id of a virtio device that is a PCI function */
  virtioQueueStatus(id: string, queue: number): Promise<VirtioQueueStatus> {
    return this.execute('x-query-virtio-queue-status', { path: virtioPath(id), queue })
  }

  /**
   * Plugs a device in, without what the machine has to do for it: `QemuBench.hotAdd` does that too.
   * @param device as QEMU spells `-device`, in pairs or JSON
   */
  async deviceAdd(device: string): Promise<void> {
    if (device.trimStart().startsWith('{'))
      await this.execute('device_add', JSON.parse(device) as Record<string, unknown>)
    else await this.human(`device_add ${quoted(device)}`)
  }

  /** Asks for a device to be unplugged; it stays until the machine lets it go: `QemuBench.hotRemove` does that too. */
  async deviceDel(id: string): Promise<void> {
    await this.execute('device_del', { id })
  }

  /** @param netdev as QEMU spells `-netdev`, e.g. `user,id=n1` */
  async netdevAdd(netdev: string): Promise<void> {
    await this.human(`netdev_add ${quoted(netdev)}`)
  }

  async netdevDel(id: string): Promise<void> {
    await this.execute('netdev_del', { id })
  }

  /** Resets the whole machine. `QemuBench.rescan` makes its functions reachable again. */
  async systemReset(): Promise<void> {
    // the answer comes before the reset, the event after
    const done = this.next('RESET')
    await Promise.all([done, this.execute('system_reset')])
  }

  /** All functions on buses that have a number, whatever they are. */
  async queryPci(): Promise<QueriedPciFunction[]> {
    const buses = await this.execute<{ readonly devices: readonly PciNode[] }[]>('query-pci')
    const flat = (nodes: readonly PciNode[]): QueriedPciFunction[] =>
      nodes.flatMap((node) => [node, ...flat(node.pci_bridge?.devices ?? [])])
    return flat(buses.flatMap(({ devices }) => devices))
  }

  /**
   * A command of QEMU's human monitor, which takes devices as the command line does. What it says is returned.
   * @throws QemuError `qmp.error` when what it says begins with `Error:`
   */
  async human(command: string, wait: QmpWait = {}): Promise<string> {
    const said = await this.execute<string>('human-monitor-command', { 'command-line': command }, wait)
    const error = /^Error: (.*)/m.exec(said)?.[1]
    if (error !== undefined) throw new QemuError('qmp.error', `QEMU refused '${command}': ${error.trim()}`)
    return said
  }
}

function virtioPath(id: string): string {
  return `/machine/peripheral/${id}/virtio-backend`
}

/** As one word for the human monitor. */
function quoted(text: string): string {
  if (/[\0\r\n]/.test(text)) throw new TypeError(`${JSON.stringify(text)} contains a control character`)
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}
