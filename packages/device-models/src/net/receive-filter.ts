import { BROADCAST, formatMac, MAC_LENGTH } from '../packet/mac-address.ts'
import { packetLayout } from '../packet/packet-layout.ts'

/** What a network device lets through to the driver, as it stands. */
export interface ReceiveFilterState {
  readonly promiscuous: boolean
  readonly allMulticast: boolean
  readonly allUnicast: boolean
  readonly noMulticast: boolean
  readonly noUnicast: boolean
  readonly noBroadcast: boolean
  /** The address packets to which are always let through; undefined while the device does not know the driver's. */
  readonly mac: string | undefined
  readonly unicastTable: readonly string[]
  readonly multicastTable: readonly string[]
  /** Undefined while VLANs are not filtered: all are let through. */
  readonly vlans: readonly number[] | undefined
}

/** The modes a driver switches one by one. */
export type ReceiveMode = 'promiscuous' | 'allMulticast' | 'allUnicast' | 'noMulticast' | 'noUnicast' | 'noBroadcast'

/**
 * Receive filtering of a network device.
 * @see VIRTIO 1.3 § 5.1.6.5.1 "Packet Receive Filtering"
 */
export class ReceiveFilter {
  readonly #modes: Record<ReceiveMode, boolean> = {
    promiscuous: false,
    allMulticast: false,
    allUnicast: false,
    noMulticast: false,
    noUnicast: false,
    noBroadcast: false,
  }
  #mac: string | undefined
  #unicast: ReadonlySet<string> = new Set()
  #multicast: ReadonlySet<string> = new Set()
  #vlans: Set<number> | undefined

  /** Back to the beginning: empty tables, no modes. VIRTIO 1.3 § 5.1.6.5.2.1 "Device Requirements: Setting MAC Address Filtering" */
  reset(): void {
    for (const mode of Object.keys(this.#modes) as ReceiveMode[]) this.#modes[mode] = false
    this.#mac = undefined
    this.#unicast = new Set()
    this.#multicast = new Set()
    this.#vlans = undefined
  }

  get state(): ReceiveFilterState {
    return {
      ...this.#modes,
      mac: this.#mac,
      unicastTable: [...this.#unicast],
      multicastTable: [...this.#multicast],
      vlans: this.#vlans && [...this.#vlans].sort((a, b) => a - b),
    }
  }

  set(mode: ReceiveMode, on: boolean): void {
    this.#modes[mode] = on
  }

  setMac(mac: string | undefined): void {
    this.#mac = mac
  }

  setTables(unicast: readonly string[], multicast: readonly string[]): void {
    this.#unicast = new Set(unicast)
    this.#multicast = new Set(multicast)
  }

  /** From now on only VLANs that were added pass. */
  filterVlans(): void {
    this.#vlans ??= new Set()
  }

  addVlan(vlan: number): void {
    this.#vlans?.add(vlan)
  }

  removeVlan(vlan: number): void {
    this.#vlans?.delete(vlan)
  }

  /** VIRTIO 1.3 § 5.1.6.5.1.1 "Device Requirements: Packet Receive Filtering" */
  accepts(frame: Uint8Array): boolean {
    const modes = this.#modes
    if (modes.promiscuous) return true
    const { vlan } = packetLayout(frame)
    if (vlan !== undefined && this.#vlans && !this.#vlans.has(vlan)) return false
    const destination = formatMac(frame.subarray(0, MAC_LENGTH))
    if (destination === BROADCAST) return !modes.noBroadcast
    if (((frame[0] ?? 0) & 1) !== 0)
      return !modes.noMulticast && (modes.allMulticast || this.#multicast.has(destination))
    if (modes.noUnicast) return false
    return modes.allUnicast || this.#mac === undefined || destination === this.#mac || this.#unicast.has(destination)
  }
}
