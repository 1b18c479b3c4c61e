import { ETHERNET_HEADER, MAX_VLAN_TAGS, VLAN_TAG } from './net-limits.ts'

const ETHERTYPE_IPV4 = 0x0800
const ETHERTYPE_IPV6 = 0x86dd
const ETHERTYPE_VLAN = 0x8100
const ETHERTYPE_PROVIDER = 0x88a8
const IPV4_MIN_HEADER = 20
const IPV6_HEADER = 40
const HOP_BY_HOP = 0
const ROUTING = 43
const DESTINATION_OPTIONS = 60
/** More extension headers than a segmented packet has any use for. */
const MAX_EXTENSIONS = 4

const VERSION_6 = 1 << 24

/** What `findTransport` answers when there is no transport header to be found: not IP, cut short, or a fragment. */
export const NO_TRANSPORT = -1

/**
 * Walks Ethernet, VLAN tags and IP to the transport header of a frame.
 * @param bytes memory nobody else writes to, as fields are read more than once
 * @param at offset of the frame
 * @param available bytes of the frame that are there
 * @returns offset, protocol and IP version in one integer (see the functions below), or `NO_TRANSPORT`
 */
export function findTransport(bytes: Uint8Array, at: number, available: number): number {
  let offset = ETHERNET_HEADER
  if (available < offset) return NO_TRANSPORT
  let type = big16(bytes, at + offset - 2)
  for (let tags = 0; tags < MAX_VLAN_TAGS && isVlan(type); tags++) {
    offset += VLAN_TAG
    if (available < offset) return NO_TRANSPORT
    type = big16(bytes, at + offset - 2)
  }
  if (type === ETHERTYPE_IPV4) return behindIpv4(bytes, at, offset, available)
  if (type === ETHERTYPE_IPV6) return behindIpv6(bytes, at, offset, available)
  return NO_TRANSPORT
}

/** Offset of the transport header from the start of the frame. */
export function transportOffset(found: number): number {
  return found & 0xffff
}

/** IP protocol number. */
export function transportProtocol(found: number): number {
  return (found >> 16) & 0xff
}

export function isOverIpv6(found: number): boolean {
  return (found & VERSION_6) !== 0
}

/** Bytes of VLAN tags in front of the packet, two tags at most. */
export function vlanTagBytes(bytes: Uint8Array, at: number, available: number): number {
  let tags = 0
  while (
    tags < MAX_VLAN_TAGS &&
    available >= ETHERNET_HEADER + tags * VLAN_TAG &&
    isVlan(big16(bytes, at + ETHERNET_HEADER - 2 + tags * VLAN_TAG))
  ) {
    tags++
  }
  return tags * VLAN_TAG
}

function behindIpv4(bytes: Uint8Array, at: number, offset: number, available: number): number {
  if (available < offset + IPV4_MIN_HEADER) return NO_TRANSPORT
  const first = bytes[at + offset]!
  const length = (first & 0xf) << 2
  if (first >> 4 !== 4 || length < IPV4_MIN_HEADER || available < offset + length) return NO_TRANSPORT
  // Neither the more-fragments flag nor an offset: a fragment cannot be segmented once more.
  if ((big16(bytes, at + offset + 6) & 0x3fff) !== 0) return NO_TRANSPORT
  return (bytes[at + offset + 9]! << 16) | (offset + length)
}

function behindIpv6(bytes: Uint8Array, at: number, offset: number, available: number): number {
  if (available < offset + IPV6_HEADER || bytes[at + offset]! >> 4 !== 6) return NO_TRANSPORT
  let protocol = bytes[at + offset + 6]!
  offset += IPV6_HEADER
  for (let extensions = 0; isExtension(protocol); extensions++) {
    if (extensions === MAX_EXTENSIONS || available < offset + 8) return NO_TRANSPORT
    protocol = bytes[at + offset]!
    offset += (bytes[at + offset + 1]! + 1) << 3
  }
  return available < offset ? NO_TRANSPORT : VERSION_6 | (protocol << 16) | offset
}

function isExtension(protocol: number): boolean {
  return protocol === HOP_BY_HOP || protocol === ROUTING || protocol === DESTINATION_OPTIONS
}

function isVlan(type: number): boolean {
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_PROVIDER
}

function big16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}
