import { type NetDriver, NetHeaderFields } from '@virtio-ts/driver-net'
import { NetHeader } from '@virtio-ts/spec'

/** For local experiments: nobody in between looks into such frames. */
const ETHERTYPE = [0x88, 0xb5] as const
/** Whoever is on the network. */
export const PEER: readonly number[] = [0x52, 0x54, 0, 0, 0, 0xfe]

/** A frame that no other number makes, of `length` bytes: to the driver, or from it. */
export function numbered(driver: NetDriver, toDriver: boolean, number: number, length: number): Uint8Array {
  const frame = Uint8Array.from({ length }, (_, i) => (i * 13 + number) & 0xff)
  frame.set(toDriver ? driver.mac : PEER, 0)
  frame.set(toDriver ? PEER : driver.mac, 6)
  frame.set([...ETHERTYPE, number >> 24, number >> 16, number >> 8, number], 12)
  return frame
}

/** Whether both have the same frames in the same order. */
export function same(one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean {
  return (
    one.length === other.length && one.every((frame, i) => Buffer.compare(frame, other[i] ?? new Uint8Array(0)) === 0)
  )
}

/** TCP over IPv4 with a checksum that covers the pseudo header only, and the header that leaves the rest to the other side. */
export function segmented(
  driver: NetDriver,
  toDriver: boolean,
  payload: number,
): { readonly frame: Uint8Array; readonly header: NetHeaderFields } {
  const frame = new Uint8Array(54 + payload)
  const view = new DataView(frame.buffer)
  frame.set(toDriver ? driver.mac : PEER, 0)
  frame.set(toDriver ? PEER : driver.mac, 6)
  view.setUint16(12, 0x0800)
  frame.set([0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 14)
  view.setUint16(16, 40 + payload)
  let sum = 0
  for (let i = 14; i < 34; i += 2) sum += view.getUint16(i)
  view.setUint16(24, ~((sum & 0xffff) + (sum >>> 16)))
  frame.set([0, 80, 0, 90, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x40, 0, 0, 0, 0, 0], 34)
  const pseudo = 0x0a00 + 1 + 0x0a00 + 2 + 6 + 20 + payload
  view.setUint16(50, (pseudo & 0xffff) + (pseudo >>> 16))
  for (let i = 54; i < frame.length; i++) frame[i] = i * 7
  const header = Object.assign(new NetHeaderFields(), {
    flags: NetHeader.F_NEEDS_CSUM,
    gsoType: NetHeader.GSO_TCPV4,
    gsoSize: 1000,
    csumStart: 34,
    csumOffset: 16,
  })
  return { frame, header }
}

/** Whether a TCP segment's checksum is right. */
export function isSound(frame: Uint8Array): boolean {
  const length = frame.length - 34
  let sum = 0x0a00 + 1 + 0x0a00 + 2 + 6 + length
  for (let i = 0; i < length; i++) sum += (frame[34 + i] ?? 0) * (i % 2 === 0 ? 256 : 1)
  return sum % 0xffff === 0
}
