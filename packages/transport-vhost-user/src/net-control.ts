import { NetControl } from '@virtio-ts/spec'

/** What a driver told about itself, so far. */
export interface NetFilterState {
  /** Receive modes that are on, as the numbers of their commands. */
  readonly modes: ReadonlySet<number>
  /** Addresses received besides the device's own, in the order of the command: unicast, multicast. */
  readonly macTable: readonly (readonly Uint8Array[])[]
  readonly vlans: ReadonlySet<number>
}

export interface NetControlOptions {
  /** Queue pairs at most. */
  readonly pairs: number
  /** Has the back-end use this many of them. @returns whether it does */
  readonly usePairs: (pairs: number) => Promise<boolean>
  /** The device has another address. */
  readonly onMac: (mac: Uint8Array) => void
}

const MAC_LENGTH = 6
/** Entries of both tables together; the command is limited before that. */
const MAX_TABLE = 4096
const { OK, ERR, RX, MAC, VLAN, ANNOUNCE, MQ } = NetControl

/**
 * Obeys commands of the control queue for a back-end that has none, as front-ends do. Filters are remembered and no more: a device may let
 * more through than it was asked for.
 * @see VIRTIO 1.3 § 5.1.6.5 "Control Virtqueue"
 */
export class NetControlCommands {
  readonly #options: NetControlOptions
  readonly #modes = new Set<number>()
  readonly #vlans = new Set<number>()
  #macTable: readonly (readonly Uint8Array[])[] = [[], []]

  constructor(options: NetControlOptions) {
    this.#options = options
  }

  get filter(): NetFilterState {
    return { modes: this.#modes, macTable: this.#macTable, vlans: this.#vlans }
  }

  /**
   * @param command class, command and its data
   * @returns the acknowledgement
   */
  async obey(command: Uint8Array): Promise<number> {
    const [commandClass, kind] = command
    if (commandClass === undefined || kind === undefined) return ERR
    const data = command.subarray(2)
    const obeyed = await this.#obey(commandClass, kind, data)
    return obeyed ? OK : ERR
  }

  async #obey(commandClass: number, kind: number, data: Uint8Array): Promise<boolean> {
    switch (commandClass) {
      case RX.CLASS:
        return this.#setMode(kind, data)
      case MAC.CLASS:
        return kind === MAC.ADDR_SET ? this.#setMac(data) : kind === MAC.TABLE_SET && this.#setMacTable(data)
      case VLAN.CLASS:
        return this.#setVlan(kind, data)
      case ANNOUNCE.CLASS:
        return kind === ANNOUNCE.ACK
      case MQ.CLASS:
        return kind === MQ.VQ_PAIRS_SET && (await this.#setPairs(data))
      default:
        return false
    }
  }

  #setMode(kind: number, data: Uint8Array): boolean {
    const [on] = data
    if (kind > RX.NOBCAST || data.length !== 1 || on === undefined || on > 1) return false
    if (on === 1) this.#modes.add(kind)
    else this.#modes.delete(kind)
    return true
  }

  #setMac(data: Uint8Array): boolean {
    // An address of a group is no interface's.
    if (data.length !== MAC_LENGTH || (data[0] ?? 1) & 1) return false
    this.#options.onMac(data.slice())
    return true
  }

  /** @see VIRTIO 1.3 § 5.1.6.5.2 "Setting MAC Address Filtering" */
  #setMacTable(data: Uint8Array): boolean {
    const tables: Uint8Array[][] = []
    let at = 0
    for (let table = 0; table < 2; table++) {
      if (at + 4 > data.length) return false
      const count = new DataView(data.buffer, data.byteOffset + at, 4).getUint32(0, true)
      at += 4
      if (count > MAX_TABLE || at + MAC_LENGTH * count > data.length) return false
      const start = at
      tables.push(
        Array.from({ length: count }, (_, i) =>
          data.slice(start + MAC_LENGTH * i, start + MAC_LENGTH * i + MAC_LENGTH),
        ),
      )
      at += MAC_LENGTH * count
    }
    if (at !== data.length) return false
    this.#macTable = tables
    return true
  }

  #setVlan(kind: number, data: Uint8Array): boolean {
    const id = number16(data)
    if (id === undefined || id > 4095) return false
    if (kind === VLAN.ADD) this.#vlans.add(id)
    else if (kind === VLAN.DEL) this.#vlans.delete(id)
    else return false
    return true
  }

  /** @see VIRTIO 1.3 § 5.1.6.5.6.2 "Device Requirements: Automatic receive steering in multiqueue mode" */
  async #setPairs(data: Uint8Array): Promise<boolean> {
    const pairs = number16(data)
    if (pairs === undefined || pairs < MQ.MIN_PAIRS || pairs > this.#options.pairs) return false
    return this.#options.usePairs(pairs)
  }
}

function number16(data: Uint8Array): number | undefined {
  return data.length === 2 ? (data[0] as number) | ((data[1] as number) << 8) : undefined
}
