import { hasFeature, NetControl, NetFeature, type NetFeatureName } from '@virtio-ts/spec'
import type { DescriptorChain } from '../descriptor-chain.ts'
import type { DeviceHost } from '../device-model.ts'
import { formatMac } from '../packet/mac-address.ts'
import { Rules, type SpecClause } from '../rules.ts'
import type { CoalescingParameters } from './coalescing.ts'
import { GUEST_OFFLOADS } from './net-options.ts'
import { controlQueue, type NetState } from './net-state.ts'
import type { ReceiveMode } from './receive-filter.ts'
import type { Steering } from './steering.ts'
import { needsLegacyFraming } from './transmit-judge.ts'

const { OK, ERR, RX, MAC, VLAN, ANNOUNCE, MQ, NOTF_COAL, GUEST_OFFLOADS: OFFLOADS } = NetControl

const receiveModes: readonly ReceiveMode[] = [
  'promiscuous',
  'allMulticast',
  'allUnicast',
  'noMulticast',
  'noUnicast',
  'noBroadcast',
]

/** What a command changes beside the filter. */
export interface ControlActions {
  setMac(mac: Uint8Array): void
  announced(): void
  readonly steering: Steering
  readonly coalescing: CoalescingParameters
}

/** Carries out what comes through the control queue. @see VIRTIO 1.3 § 5.1.6.5 "Control Virtqueue" */
export class ControlPath {
  readonly #state: NetState
  readonly #actions: ControlActions

  constructor(state: NetState, actions: ControlActions) {
    this.#state = state
    this.#actions = actions
  }

  run(): void {
    const { host, counters } = this.#state
    const ring = host?.ring(controlQueue(this.#state))
    if (!host || !ring) return
    if (!this.#has('CTRL_VQ')) {
      host.violation(Rules.NET_CONTROL, 'the control queue was used without CTRL_VQ')
      return
    }
    ring.suppressNotifications()
    do {
      for (let chain = ring.take(); chain; chain = ring.take()) {
        const bytes = chain.read()
        this.#judgeFraming(host, chain)
        counters.controlCommands++
        const answer = this.#answer(bytes)
        const moment = { class: bytes[0] ?? 0xff, command: bytes[1] ?? 0xff, ack: answer[0] ?? ERR }
        if (moment.ack !== OK) counters.controlErrors++
        host.show('control', moment)
        if (chain.writableLength < 1) host.violation(Rules.NET_CONTROL, 'a command without room for ack')
        answer[0] = moment.ack
        ring.push(chain, chain.write(answer))
      }
    } while (ring.requestNotifications())
    ring.flush()
  }

  #has(name: NetFeatureName): boolean {
    return hasFeature(this.#state.host?.features ?? 0n, NetFeature[name])
  }

  #allowed(name: NetFeatureName, rule: SpecClause, what: string): boolean {
    if (this.#has(name)) return true
    this.#state.host?.violation(rule, `${what} without ${name}`)
    return false
  }

  /** The acknowledgement, and behind it the result of those commands that have one. */
  #answer(bytes: Uint8Array): Uint8Array {
    const [kind, command = 0xff] = bytes
    if (kind === NOTF_COAL.CLASS) return this.#actions.coalescing.command(command, bytes.subarray(2))
    return Uint8Array.of(this.#carryOut(bytes))
  }

  #carryOut(bytes: Uint8Array): number {
    const kind = bytes[0]
    const command = bytes[1] ?? 0xff
    const data = bytes.subarray(2)
    if (kind === RX.CLASS) return this.#receiveMode(command, data)
    if (kind === MAC.CLASS && command === MAC.TABLE_SET) return this.#macTables(data)
    if (kind === MAC.CLASS && command === MAC.ADDR_SET) return this.#macAddress(data)
    if (kind === VLAN.CLASS) return this.#vlan(command, data)
    if (kind === ANNOUNCE.CLASS && command === ANNOUNCE.ACK) return this.#announced()
    if (kind === MQ.CLASS) return this.#actions.steering.command(command, data)
    if (kind === OFFLOADS.CLASS && command === OFFLOADS.SET) return this.#offloads(data)
    return ERR
  }

  /** VIRTIO 1.3 § 5.1.6.5.1.1 "Device Requirements: Packet Receive Filtering" */
  #receiveMode(command: number, data: Uint8Array): number {
    const mode = receiveModes[command]
    const [on] = data
    const feature = command <= RX.ALLMULTI ? 'CTRL_RX' : 'CTRL_RX_EXTRA'
    if (!mode || data.length !== 1 || on === undefined || on > 1) return ERR
    if (!this.#allowed(feature, Rules.NET_RECEIVE_FILTER, `receive mode ${mode}`)) return ERR
    this.#state.filter.set(mode, on === 1)
    return OK
  }

  /** VIRTIO 1.3 § 5.1.6.5.2 "Setting MAC Address Filtering": two tables, each with its number of entries in front. */
  #macTables(data: Uint8Array): number {
    if (!this.#allowed('CTRL_RX', Rules.NET_MAC_FILTER, 'MAC_TABLE_SET')) return ERR
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
    let at = 0
    const table = (): string[] | undefined => {
      if (at + 4 > data.length) return undefined
      const entries = view.getUint32(at, true)
      const start = at + 4
      if (entries > (data.length - start) / 6) return undefined
      at = start + entries * 6
      return Array.from({ length: entries }, (_, n) => formatMac(data, start + n * 6))
    }
    const unicast = table()
    const multicast = unicast && table()
    if (!unicast || !multicast || at !== data.length) {
      this.#state.host?.violation(
        Rules.NET_MAC_FILTER,
        `MAC_TABLE_SET with ${data.length} bytes that are not two tables`,
      )
      return ERR
    }
    if (unicast.some(isMulticast) || !multicast.every(isMulticast))
      this.#state.host?.violation(Rules.NET_MAC_FILTER, 'MAC_TABLE_SET has an address in the wrong table')
    this.#state.filter.setTables(unicast, multicast)
    return OK
  }

  #macAddress(data: Uint8Array): number {
    this.#allowed('CTRL_RX', Rules.NET_MAC_FILTER, 'MAC_ADDR_SET')
    if (!this.#allowed('CTRL_MAC_ADDR', Rules.NET_MAC_FILTER, 'MAC_ADDR_SET') || data.length !== 6) return ERR
    this.#actions.setMac(data)
    return OK
  }

  #vlan(command: number, data: Uint8Array): number {
    if (!this.#allowed('CTRL_VLAN', Rules.NET_VLAN, 'a VLAN command') || data.length !== 2) return ERR
    const vlan = (data[0] ?? 0) | ((data[1] ?? 0) << 8)
    if (vlan > 4095) return ERR
    if (command === VLAN.ADD) this.#state.filter.addVlan(vlan)
    else if (command === VLAN.DEL) this.#state.filter.removeVlan(vlan)
    else return ERR
    return OK
  }

  /** VIRTIO 1.3 § 5.1.6.5.4.2 "Device Requirements: Gratuitous Packet Sending": cleared before the buffer is used. */
  #announced(): number {
    if (!this.#allowed('GUEST_ANNOUNCE', Rules.NET_ANNOUNCE, 'ANNOUNCE_ACK')) return ERR
    this.#actions.announced()
    return OK
  }

  #offloads(data: Uint8Array): number {
    if (!this.#allowed('CTRL_GUEST_OFFLOADS', Rules.NET_OFFLOADS, 'GUEST_OFFLOADS_SET') || data.length !== 8) return ERR
    const wanted = new DataView(data.buffer, data.byteOffset).getBigUint64(0, true)
    const negotiated = (this.#state.host?.features ?? 0n) & GUEST_OFFLOADS
    if ((wanted & ~negotiated) !== 0n) {
      this.#state.host?.violation(Rules.NET_OFFLOADS, `offloads 0x${wanted.toString(16)} were not all negotiated`)
      return ERR
    }
    this.#state.offloads = wanted
    return OK
  }

  /** VIRTIO 1.3 § 5.1.6.6 "Legacy Interface: Framing Requirements" */
  #judgeFraming(host: DeviceHost, { readable, readableLength, writable }: DescriptorChain): void {
    if (!needsLegacyFraming(host.features)) return
    const [head] = readable
    const tables = head?.[0] === MAC.CLASS && head?.[1] === MAC.TABLE_SET
    // A command without data has no descriptor for it.
    const data = tables ? 2 : Math.min(readableLength - 2, 1)
    if (head?.length !== 2 || readable.length !== 1 + data || writable.length !== 1 || writable[0]?.length !== 1)
      host.violation(
        Rules.NET_LEGACY_FRAMING,
        'control: class and command, data and ack are not in descriptors of their own',
      )
  }
}

function isMulticast(mac: string): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1
}
