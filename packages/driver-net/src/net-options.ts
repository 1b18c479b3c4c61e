import type { InitializeOptions } from '@virtio-ts/core'
import { NetControl, NetFeature } from '@virtio-ts/spec'
import { formatMac, isUnicastMac } from './mac-address.ts'
import { MAX_MTU, MIN_MTU } from './net-limits.ts'
import type { NetSettings } from './net-settings.ts'
import { netFeatures } from './net-spec.ts'
import type { HashConfig, RssConfig } from './steering-options.ts'

export interface NetOptions extends InitializeOptions {
  /** The address to use instead of the device's, or of a random one where the device has none. Six bytes. */
  readonly mac?: Uint8Array
  /** The MTU to use; where the device gives a smaller one, that counts. @defaultValue what the device gives, or 1500 */
  readonly mtu?: number
  /**
   * Queue pairs to set up and use: as many of them as the device has. Each has buffers and memory of its own. More than one needs MQ, or
   * RSS. @defaultValue 1
   */
  readonly queuePairs?: number
  /**
   * Pairs that will be handed over with `NetQueuePair.transfer()`: all, or all but the first. They receive and transmit nothing before.
   * @defaultValue none
   */
  readonly transferPairs?: 'all' | 'others'
  /**
   * Have the device spread received packets over the pairs by a hash and a table (RSS); `true` is every hash it can calculate, over all
   * pairs. Where it cannot, `open()` rejects with `net.unsupported`. @defaultValue false: the device spreads them as it likes
   */
  readonly rss?: boolean | RssConfig
  /** Have the device report a hash with each packet: `ReceivedPacket.fields`. Where it cannot, `open()` rejects. @defaultValue false */
  readonly hashReport?: boolean | HashConfig
  /** What a driver of this device had been told before: see `NetDriver.settings()`. The other options come first. */
  readonly settings?: NetSettings
  /** Receive buffers of a pair at most. @defaultValue as many as the queue takes; 64 where each has to take a packet of 64 KiB */
  readonly receiveBuffers?: number
  /** Bytes of each, where packets may span buffers (MRG_RXBUF). @defaultValue 2112 */
  readonly receiveBufferLength?: number
  /** Slots of a pair for frames of up to the MTU. @defaultValue 256, or what the queue takes */
  readonly transmitBuffers?: number
  /** Slots for packets of up to 64 KiB that the device segments: each takes the place of one for a frame while it is used. @defaultValue 32 */
  readonly largeTransmitBuffers?: number
  /**
   * Negotiate CTRL_VLAN. The device then drops every tagged frame but those of VLANs given to `addVlan()`.
   * @defaultValue false
   */
  readonly vlanFilter?: boolean
  /** Pass on the device's word that a checksum is right, rather than have it checked again. @defaultValue false */
  readonly trustChecksums?: boolean
  /** Smallest segment size the device may ask for. @defaultValue 48 */
  readonly minimumGsoSize?: number
  /** Who answers a request to announce; the owner's job becomes the driver's while nobody listens. @defaultValue 'owner' */
  readonly acknowledgeAnnounce?: 'owner' | 'driver'
  /** Milliseconds a control command may take. @defaultValue 5000 */
  readonly controlTimeout?: number
  /** Milliseconds without a frame coming back until `transmit-timeout`. @defaultValue 5000 */
  readonly transmitTimeout?: number
  /** Milliseconds between two looks at queues that may have missed a notification; 0 for none. @defaultValue 1000, polled 100 */
  readonly watchdog?: number
  /**
   * Memory that no device reaches, for checked headers: `RECEIVED_HEAD_LENGTH` bytes, given by owners who need its address to
   * stay the same; a function is asked for each pair. @defaultValue memory of its own
   */
  readonly head?: Uint8Array | ((pair: number) => Uint8Array)
}

export const DEFAULT_MINIMUM_GSO_SIZE = 48
export const DEFAULT_CONTROL_TIMEOUT = 5000
export const DEFAULT_TRANSMIT_TIMEOUT = 5000

/** @throws RangeError for an address, MTU or number of pairs that cannot be */
export function checkNetOptions({ mac, mtu, queuePairs = 1 }: NetOptions): void {
  if (!(Number.isInteger(queuePairs) && queuePairs >= 1 && queuePairs <= NetControl.MQ.MAX_PAIRS))
    throw new RangeError(`${queuePairs} queue pairs: they go from 1 to ${NetControl.MQ.MAX_PAIRS}`)
  if (mac && !isUnicastMac(mac)) throw new RangeError(`${formatMac(mac)} cannot be the address of an interface`)
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= MIN_MTU && mtu <= MAX_MTU)) {
    throw new RangeError(`an MTU of ${mtu}: it goes from ${MIN_MTU} to ${MAX_MTU}`)
  }
}

/** The features to mask: what the owner says, and what changes a device's ways and was not asked for. */
export function maskedFeatures(options: NetOptions): readonly string[] {
  const { withoutFeatures = [], vlanFilter = false, queuePairs = 1, rss = false, hashReport = false } = options
  // A feature of network devices that this driver never accepts anyway is no mistake.
  const masked = withoutFeatures.filter((name) => name in netFeatures || !(name in NetFeature))
  if (!vlanFilter) masked.push('CTRL_VLAN')
  if (queuePairs === 1) masked.push('MQ')
  if (!rss) masked.push('RSS')
  if (!hashReport) masked.push('HASH_REPORT')
  return masked
}
