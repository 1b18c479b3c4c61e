import { NetControl, VirtioError } from '@virtio-ts/spec'
import type { ControlOptions, ControlQueue } from './control-queue.ts'
import { formatMac, isMulticastMac, isUnicastMac } from './mac-address.ts'
import { write16 } from './net-header.ts'
import { type NetOffloads, receiveOffloadMask } from './net-offloads.ts'
import type { NetDriverFeature, NetFeatures } from './net-spec.ts'

/** What the device lets through; a mode left out stays as it is. Filtering is best effort: unwanted packets may still come. */
export interface ReceiveMode {
  /** Everything. */
  readonly promiscuous?: boolean
  readonly allMulticast?: boolean
  /** These four need CTRL_RX_EXTRA. */
  readonly allUnicast?: boolean
  readonly noMulticast?: boolean
  readonly noUnicast?: boolean
  readonly noBroadcast?: boolean
}

/** Addresses let through besides the device's own. */
export interface MacTable {
  readonly unicast: readonly Uint8Array[]
  readonly multicast: readonly Uint8Array[]
}

const ON: Uint8Array = Uint8Array.of(1)
const OFF: Uint8Array = Uint8Array.of(0)
const MAX_VLAN_ID = 4095

const modes: readonly (readonly [keyof ReceiveMode, number, 'CTRL_RX' | 'CTRL_RX_EXTRA'])[] = [
  ['promiscuous', NetControl.RX.PROMISC, 'CTRL_RX'],
  ['allMulticast', NetControl.RX.ALLMULTI, 'CTRL_RX'],
  ['allUnicast', NetControl.RX.ALLUNI, 'CTRL_RX_EXTRA'],
  ['noMulticast', NetControl.RX.NOMULTI, 'CTRL_RX_EXTRA'],
  ['noUnicast', NetControl.RX.NOUNI, 'CTRL_RX_EXTRA'],
  ['noBroadcast', NetControl.RX.NOBCAST, 'CTRL_RX_EXTRA'],
]

/** What a device was told, for another one to be told the same. */
export interface FilterSettings {
  readonly receiveMode?: ReceiveMode
  readonly macTable?: MacTable
  readonly vlans?: readonly number[]
  readonly receiveOffloads?: NetOffloads
}

/**
 * What the control queue can ask of a network device, each command only where its feature was negotiated.
 * @see VIRTIO 1.3 § 5.1.6.5 "Control Virtqueue"
 */
export class DeviceFilter {
  readonly #control: ControlQueue | undefined
  readonly #features: NetFeatures
  readonly #device: string
  #mode: ReceiveMode | undefined
  #macTable: MacTable | undefined
  readonly #vlans = new Set<number>()
  #receiveOffloads: NetOffloads | undefined

  constructor(control: ControlQueue | undefined, features: NetFeatures, device: string) {
    this.#control = control
    this.#features = features
    this.#device = device
  }

  /** Everything that was told with success. */
  get settings(): FilterSettings {
    return {
      ...(this.#mode && { receiveMode: this.#mode }),
      ...(this.#macTable && { macTable: this.#macTable }),
      ...(this.#vlans.size > 0 && { vlans: [...this.#vlans] }),
      ...(this.#receiveOffloads && { receiveOffloads: this.#receiveOffloads }),
    }
  }

  /** @see VIRTIO 1.3 § 5.1.6.5.1.2 "Driver Requirements: Packet Receive Filtering" */
  async setReceiveMode(mode: ReceiveMode, options?: ControlOptions): Promise<void> {
    const wanted = modes.filter(([name]) => mode[name] !== undefined)
    // All of them first, so that nothing is done when one cannot be.
    for (const [name, , feature] of wanted) this.#require(feature, name)
    for (const [name, command, feature] of wanted) {
      await this.#require(feature, name).command(NetControl.RX.CLASS, command, [mode[name] ? ON : OFF], options)
      this.#mode = { ...this.#mode, [name]: mode[name] }
    }
  }

  /** @see VIRTIO 1.3 § 5.1.6.5.2.2 "Driver Requirements: Setting MAC Address Filtering" */
  async setMacTable({ unicast, multicast }: MacTable, options?: ControlOptions): Promise<void> {
    const control = this.#require('CTRL_RX', 'a table of addresses')
    // Exactly two parts, also where one has no entries.
    const parts = [macTable(unicast, isUnicastMac, 'unicast'), macTable(multicast, isMulticastMac, 'multicast')]
    await control.command(NetControl.MAC.CLASS, NetControl.MAC.TABLE_SET, parts, options)
    this.#macTable = { unicast: unicast.map((mac) => mac.slice()), multicast: multicast.map((mac) => mac.slice()) }
  }

  async setMac(mac: Uint8Array, options?: ControlOptions): Promise<void> {
    this.#require('CTRL_RX', 'setting the address')
    await this.#require('CTRL_MAC_ADDR', 'setting the address').command(
      NetControl.MAC.CLASS,
      NetControl.MAC.ADDR_SET,
      [mac],
      options,
    )
  }

  /** @see VIRTIO 1.3 § 5.1.6.5.3 "VLAN Filtering" */
  async setVlan(id: number, wanted: boolean, options?: ControlOptions): Promise<void> {
    if (!(Number.isInteger(id) && id >= 0 && id <= MAX_VLAN_ID))
      throw new RangeError(`VLAN ${id} is not an integer from 0 to ${MAX_VLAN_ID}`)
    const data = new Uint8Array(2)
    write16(data, 0, id)
    const command = wanted ? NetControl.VLAN.ADD : NetControl.VLAN.DEL
    await this.#require('CTRL_VLAN', 'VLAN filtering').command(NetControl.VLAN.CLASS, command, [data], options)
    if (wanted) this.#vlans.add(id)
    else this.#vlans.delete(id)
  }

  /** @see VIRTIO 1.3 § 5.1.6.5.8.2 "Driver Requirements: Setting Offloads State": none that was not negotiated */
  async setOffloads(wanted: NetOffloads, negotiated: NetOffloads, options?: ControlOptions): Promise<void> {
    const control = this.#require('CTRL_GUEST_OFFLOADS', 'setting receive offloads')
    const mask = receiveOffloadMask(wanted)
    const extra = mask & ~receiveOffloadMask(negotiated)
    if (extra !== 0) throw new RangeError(`receive offloads 0x${extra.toString(16)} were not negotiated`)
    const data = new Uint8Array(8)
    write16(data, 0, mask)
    await control.command(NetControl.GUEST_OFFLOADS.CLASS, NetControl.GUEST_OFFLOADS.SET, [data], options)
    this.#receiveOffloads = wanted
  }

  /** @see VIRTIO 1.3 § 5.1.6.5.4.1 "Driver Requirements: Gratuitous Packet Sending" */
  async acknowledgeAnnounce(options?: ControlOptions): Promise<void> {
    const control = this.#require('GUEST_ANNOUNCE', 'acknowledging an announcement')
    await control.command(NetControl.ANNOUNCE.CLASS, NetControl.ANNOUNCE.ACK, [], options)
  }

  #require(feature: NetDriverFeature, what: string): ControlQueue {
    if (this.#control && this.#features.has(feature)) return this.#control
    throw new VirtioError('net.unsupported', `${this.#device}: ${what} needs ${feature}, which was not negotiated`, {
      device: this.#device,
    })
  }
}

/** A le32 count, then the addresses. */
function macTable(macs: readonly Uint8Array[], isKind: (mac: Uint8Array) => boolean, kind: string): Uint8Array {
  const table = new Uint8Array(4 + 6 * macs.length)
  new DataView(table.buffer).setUint32(0, macs.length, true)
  for (const [i, mac] of macs.entries()) {
    if (!isKind(mac)) throw new RangeError(`${formatMac(mac)} is not a ${kind} address`)
    table.set(mac, 4 + 6 * i)
  }
  return table
}
