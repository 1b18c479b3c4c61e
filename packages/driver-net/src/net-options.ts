import type { InitializeOptions } from '@virtio-ts/core'
import { NetFeature } from '@virtio-ts/spec'
import { formatMac, isUnicastMac } from './mac-address.ts'
import { MAX_MTU, MIN_MTU } from './net-limits.ts'
import { netFeatures } from './net-spec.ts'

export interface NetOptions extends InitializeOptions {
  /** The address to use instead of the device's, or of a random one where the device has none. Six bytes. */
  readonly mac?: Uint8Array
  /** The MTU to use; where the device gives a smaller one, that counts. @defaultValue what the device gives, or 1500 */
  readonly mtu?: number
  /** Receive buffers at most. @defaultValue as many as the queue takes; 64 where each has to take a packet of 64 KiB */
  readonly receiveBuffers?: number
  /** Bytes of each, where packets may span buffers (MRG_RXBUF). @defaultValue 2112 */
  readonly receiveBufferLength?: number
  /** Slots for frames of up to the MTU. @defaultValue 256, or what the queue takes */
  readonly transmitBuffers?: number
  /** Slots for packets of up to 64 KiB that the device segments. @defaultValue 32 */
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
   * stay the same. @defaultValue memory of its own
   */
  readonly head?: Uint8Array
}

export const DEFAULT_MINIMUM_GSO_SIZE = 48
export const DEFAULT_CONTROL_TIMEOUT = 5000
export const DEFAULT_TRANSMIT_TIMEOUT = 5000

/** @throws RangeError for an address or MTU that cannot be */
export function checkNetOptions({ mac, mtu }: NetOptions): void {
  if (mac && !isUnicastMac(mac)) throw new RangeError(`${formatMac(mac)} cannot be the address of an interface`)
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= MIN_MTU && mtu <= MAX_MTU)) {
    throw new RangeError(`an MTU of ${mtu}: it goes from ${MIN_MTU} to ${MAX_MTU}`)
  }
}

/** The features to mask: what the owner says, less those of network devices that this driver never accepts anyway. */
export function maskedFeatures({ withoutFeatures = [], vlanFilter = false }: NetOptions): readonly string[] {
  const masked = withoutFeatures.filter((name) => name in netFeatures || !(name in NetFeature))
  return vlanFilter ? masked : [...masked, 'CTRL_VLAN']
}
