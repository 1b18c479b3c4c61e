export const EtherType = { IPV4: 0x0800, ARP: 0x0806, IPV6: 0x86dd } as const

export const broadcastMac: Uint8Array = new Uint8Array(6).fill(0xff)

/** Destination, source, EtherType, payload; padded to the 60 bytes Ethernet carries at least (without its checksum). */
export function ethernetFrame(to: Uint8Array, from: Uint8Array, etherType: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(Math.max(60, 14 + payload.length))
  frame.set(to, 0)
  frame.set(from, 6)
  frame[12] = etherType >> 8
  frame[13] = etherType & 0xff
  frame.set(payload, 14)
  return frame
}

export function etherTypeOf(frame: Uint8Array): number {
  return ((frame[12] ?? 0) << 8) | (frame[13] ?? 0)
}

/** `52:54:00:12:34:56` */
export function formatMac(mac: Uint8Array): string {
  return [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

/** The six bytes of `52:54:00:12:34:56`. */
export function parseMac(text: string): Uint8Array {
  return Uint8Array.from(text.split(':'), (octet) => Number.parseInt(octet, 16))
}
