import { NetControl, NetHashType } from '@virtio-ts/spec'
import { EtherType, packetLayout } from '../packet/packet-layout.ts'
import { NO_HASH, type ReceiveHash, receiveHash } from '../packet/receive-hash.ts'
import { Rules } from '../rules.ts'
import { type NetState, negotiated } from './net-state.ts'

const { OK, ERR, MQ } = NetControl
/** Flows whose pair is remembered; of more than these the oldest are forgotten. */
const MAX_FLOWS = 1024

export interface RssState {
  readonly table: readonly number[]
  readonly unclassified: number
}

/** How many pairs are in use, and which packets go where. @see VIRTIO 1.3 § 5.1.6.5.5 "Device operation in multiqueue mode" */
export class Steering {
  readonly #state: NetState
  #pairs = 1
  #hashTypes = 0
  #key: Uint8Array = new Uint8Array(0)
  #rss: RssState | undefined
  readonly #flows = new Map<string, number>()

  constructor(state: NetState) {
    this.#state = state
  }

  /** Pairs in use. VIRTIO 1.3 § 5.1.6.5.6.2 "Device Requirements: Automatic receive steering in multiqueue mode": one after a reset. */
  get pairs(): number {
    return this.#pairs
  }

  get hashTypes(): number {
    return this.#hashTypes
  }

  get key(): Uint8Array {
    return this.#key
  }

  get rss(): RssState | undefined {
    return this.#rss
  }

  reset(): void {
    this.#pairs = 1
    this.#hashTypes = 0
    this.#key = new Uint8Array(0)
    this.#rss = undefined
    this.#flows.clear()
  }

  hash(frame: Uint8Array): ReceiveHash {
    return this.#hashTypes === 0 ? NO_HASH : receiveHash(frame, this.#hashTypes, this.#key)
  }

  /** The pair for a packet to the driver. */
  pairOf(frame: Uint8Array, { report, value }: ReceiveHash): number {
    if (this.#rss) {
      const { table, unclassified } = this.#rss
      // VIRTIO 1.3 § 5.1.6.5.7.3 "Device Requirements: RSS processing"
      return report === 0 ? unclassified : (table[value & (table.length - 1)] ?? unclassified)
    }
    if (this.#pairs === 1) return 0
    const flow = flowOf(frame, true)
    if (flow === undefined) return 0
    const pair = this.#flows.get(flow) ?? sum(flow) % this.#pairs
    return pair < this.#pairs ? pair : 0
  }

  /** The driver has sent a packet by this pair: the flow's answers come back there. */
  sent(frame: Uint8Array, pair: number): void {
    if (pair >= this.#pairs) {
      this.#state.host?.violation(
        Rules.NET_STEERING,
        `a packet on transmitq${pair + 1}, with ${this.#pairs} pairs in use`,
      )
      return
    }
    const flow = this.#pairs > 1 && !this.#rss ? flowOf(frame, false) : undefined
    if (flow === undefined) return
    this.#flows.delete(flow)
    this.#flows.set(flow, pair)
    const [oldest] = this.#flows.keys()
    if (this.#flows.size > MAX_FLOWS && oldest !== undefined) this.#flows.delete(oldest)
  }

  /** A command of class MQ. @returns its acknowledgement */
  command(command: number, data: Uint8Array): number {
    if (command === MQ.VQ_PAIRS_SET) return this.#setPairs(data)
    if (command === MQ.RSS_CONFIG) return this.#setRss(data)
    if (command === MQ.HASH_CONFIG) return this.#setHash(data)
    return ERR
  }

  #setPairs(data: Uint8Array): number {
    if (!this.#allowed('MQ', 'VQ_PAIRS_SET') || data.length !== 2) return ERR
    const pairs = word(data, 0)
    if (pairs < 1 || pairs > this.#state.pairs) {
      this.#violation(Rules.NET_STEERING, `${pairs} queue pairs, of ${this.#state.pairs} there are`)
      return ERR
    }
    if (!this.#areSetUp(pairs, pairs))
      this.#violation(Rules.NET_STEERING, `${pairs} queue pairs that are not all set up`)
    this.#pairs = pairs
    // The last command says how packets are spread.
    this.#rss = undefined
    this.#flows.clear()
    return OK
  }

  #setRss(data: Uint8Array): number {
    if (!this.#allowed('RSS', 'RSS_CONFIG')) return ERR
    const mask = word(data, 4)
    const behind = 8 + 2 * (mask + 1)
    const keyLength = data[behind + 2] ?? 0
    if (data.length < behind + 3 || data.length !== behind + 3 + keyLength) return ERR
    const table = Array.from({ length: mask + 1 }, (_, n) => word(data, 8 + 2 * n))
    const unclassified = word(data, 6)
    const pairs = word(data, behind)
    const types = word(data, 0) | (word(data, 2) << 16)
    const { config } = this.#state
    const most = this.#state.pairs
    const wrong =
      ((mask & (mask + 1)) !== 0 && `an indirection table of ${mask + 1} entries`) ||
      (mask >= config.rssMaxTableLength && `a mask of ${mask}, with ${config.rssMaxTableLength} entries at most`) ||
      (pairs < 1 || pairs > most ? `${pairs} transmit queues, of ${most}` : false) ||
      ([...table, unclassified].some((pair) => pair >= most) && 'a receive queue that is not there') ||
      this.#wrongHash(types, keyLength)
    if (wrong) {
      this.#violation(Rules.NET_RSS, `RSS_CONFIG with ${wrong}`)
      return ERR
    }
    const enabled = Math.max(...table, unclassified) + 1
    if (!this.#areSetUp(enabled, pairs)) this.#violation(Rules.NET_RSS, 'RSS_CONFIG names queues that are not set up')
    this.#pairs = Math.max(pairs, enabled)
    this.#rss = { table, unclassified }
    this.#takeHash(types, data.slice(behind + 3))
    return OK
  }

  #setHash(data: Uint8Array): number {
    if (!this.#allowed('HASH_REPORT', 'HASH_CONFIG')) return ERR
    const keyLength = data[12] ?? 0
    if (data.length < 13 || data.length !== 13 + keyLength) return ERR
    const types = word(data, 0) | (word(data, 2) << 16)
    const reserved = data.subarray(4, 12).some((byte) => byte !== 0)
    const wrong = reserved ? 'reserved fields that are not 0' : this.#wrongHash(types, keyLength)
    if (wrong) {
      this.#violation(Rules.NET_HASH, `HASH_CONFIG with ${wrong}`)
      return ERR
    }
    this.#takeHash(types, data.slice(13))
    return OK
  }

  #wrongHash(types: number, keyLength: number): string | false {
    const { config } = this.#state
    if ((types & ~config.supportedHashTypes) !== 0) return `hash types 0x${types.toString(16)} that are not supported`
    return keyLength > config.rssMaxKeySize && `a key of ${keyLength} bytes, with ${config.rssMaxKeySize} at most`
  }

  #takeHash(types: number, key: Uint8Array): void {
    this.#hashTypes = types & NetHashType.ALL
    this.#key = key
  }

  #areSetUp(receive: number, transmit: number): boolean {
    const { host } = this.#state
    for (let pair = 0; pair < Math.max(receive, transmit); pair++) {
      if (pair < receive && !host?.ring(2 * pair)) return false
      if (pair < transmit && !host?.ring(2 * pair + 1)) return false
    }
    return true
  }

  #allowed(name: 'MQ' | 'RSS' | 'HASH_REPORT', what: string): boolean {
    if (negotiated(this.#state, name)) return true
    const rule = { MQ: Rules.NET_STEERING, RSS: Rules.NET_RSS, HASH_REPORT: Rules.NET_HASH }[name]
    this.#violation(rule, `${what} without ${name}`)
    return false
  }

  #violation(rule: (typeof Rules)[keyof typeof Rules], text: string): void {
    this.#state.host?.violation(rule, text)
  }
}

/** Both ends of a conversation, the same whichever way a packet of it goes. */
function flowOf(frame: Uint8Array, incoming: boolean): string | undefined {
  const { etherType, ip, network, transport, protocol, fragment } = packetLayout(frame)
  if (ip === undefined || (etherType !== EtherType.IPV4 && etherType !== EtherType.IPV6)) return undefined
  const length = ip === 4 ? 4 : 16
  const source = network + (ip === 4 ? 12 : 8)
  const ports = !fragment && (protocol === 6 || protocol === 17)
  const end = (address: number, port: number): string =>
    `${Buffer.from(frame.subarray(address, address + length)).toString('hex')}:${ports ? word(frame, port) : ''}`
  const ends = [end(source, transport), end(source + length, transport + 2)]
  return `${protocol} ${(incoming ? ends.reverse() : ends).join(' ')}`
}

function sum(text: string): number {
  let total = 0
  for (let i = 0; i < text.length; i++) total = (total * 31 + text.charCodeAt(i)) & 0xffffff
  return total
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)
}
