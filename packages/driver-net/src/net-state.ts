import type { DeviceConfig } from '@virtio-ts/core'
import { NetConfig, VirtioError } from '@virtio-ts/spec'
import { formatMac, isUnicastMac } from './mac-address.ts'
import { MIN_MTU } from './net-limits.ts'
import type { NetFeatures } from './net-spec.ts'

const MAX_SPEED = 0x7fffffff

export interface LinkState {
  readonly up: boolean
  /** Mbit/s; left out when unknown. */
  readonly speed?: number
  /** Left out when unknown. */
  readonly duplex?: 'half' | 'full'
}

/** A field of the configuration space that says what it must not; the last good value stands. */
export interface InvalidConfig {
  readonly field: 'mac' | 'mtu' | 'max_virtqueue_pairs' | 'space'
  /** What it says; for `space`, which could not be read at all, the error's code. */
  readonly value: string | number
}

/** A reading of the fields that negotiated features make valid, each consistent in itself. */
export interface NetState {
  readonly link: LinkState
  /** The device asks for gratuitous packets. */
  readonly announce: boolean
  readonly mac?: Uint8Array
  readonly mtu?: number
}

/**
 * Field by field, as each wants accesses of its own width, and as a field whose feature was not negotiated need not be there.
 * @see VIRTIO 1.3 § 5.1.4 "Device configuration layout"
 */
export async function readNetState(config: DeviceConfig, features: NetFeatures): Promise<NetState> {
  const mac = features.has('MAC') && (await config.bytes(NetConfig.MAC, 6))
  const mtu = features.has('MTU') && (await config.read16(NetConfig.MTU))
  // Speed first: should the link come up in between, the next notification brings the new speed.
  const speed = features.has('SPEED_DUPLEX') && (await readSpeed(config))
  // VIRTIO 1.3 § 5.1.4.2 "Driver Requirements: Device configuration layout": without STATUS the link is taken to be active.
  const status = features.has('STATUS') ? await config.read16(NetConfig.STATUS) : NetConfig.S_LINK_UP
  return {
    link: { up: (status & NetConfig.S_LINK_UP) !== 0, ...(speed || {}) },
    announce: features.has('GUEST_ANNOUNCE') && (status & NetConfig.S_ANNOUNCE) !== 0,
    ...(mac && { mac }),
    ...(mtu !== false && { mtu }),
  }
}

/** What a reading must not say, given what was negotiated on. @param mtu the one negotiated; the device MUST NOT change it */
export function findInvalid(state: NetState, mtu: number | undefined): InvalidConfig | undefined {
  if (state.mac && !isUnicastMac(state.mac)) return { field: 'mac', value: formatMac(state.mac) }
  if (state.mtu !== undefined && (state.mtu < MIN_MTU || (mtu !== undefined && state.mtu !== mtu)))
    return { field: 'mtu', value: state.mtu }
  return undefined
}

export function invalidConfigError(device: string, { field, value }: InvalidConfig): VirtioError {
  return new VirtioError(
    'net.config-invalid',
    `${device} now gives ${value} as its ${field}, after giving something valid when features were negotiated`,
    { device, detail: { field, value } },
  )
}

export function sameLink(one: LinkState, other: LinkState): boolean {
  return one.up === other.up && one.speed === other.speed && one.duplex === other.duplex
}

/**
 * VIRTIO 1.3 § 5.1.4.2 "Driver Requirements: Device configuration layout": a speed above 0x7fffffff and a duplex other than 0 and 1
 * are unknown. (The section before that swaps half and full; drivers and devices go by the description: 1 is full.)
 */
async function readSpeed(config: DeviceConfig): Promise<Omit<LinkState, 'up'>> {
  const speed = await config.read32(NetConfig.SPEED)
  const duplex = await config.read8(NetConfig.DUPLEX)
  return {
    ...(speed <= MAX_SPEED && { speed }),
    ...(duplex === NetConfig.DUPLEX_HALF && { duplex: 'half' as const }),
    ...(duplex === NetConfig.DUPLEX_FULL && { duplex: 'full' as const }),
  }
}
