/** Packets made by hand for the tests, with sums of their own. */
export const DRIVER_MAC = '52:54:00:12:34:56'
export const PEER_MAC = '52:54:00:00:00:01'

export function mac(text: string): number[] {
  return text.split(':').map((byte) => Number.parseInt(byte, 16))
}

export function ethernet(destination: string, source: string, type: number, payload: readonly number[]): Uint8Array {
  return Uint8Array.from([...mac(destination), ...mac(source), type >> 8, type & 0xff, ...payload])
}

/** 16 bits, big-endian. */
export function be16(value: number): number[] {
  return [(value >> 8) & 0xff, value & 0xff]
}

/** Sums up the slow way, straight from RFC 1071. */
export function checksum(bytes: readonly number[]): number {
  let sum = 0
  for (let n = 0; n < bytes.length; n += 2) {
    sum += (bytes[n] ?? 0) * 256 + (bytes[n + 1] ?? 0)
    if (sum > 0xffff) sum = sum - 0xffff
  }
  return 0xffff - sum
}

export function ipv4(
  protocol: number,
  from: readonly number[],
  to: readonly number[],
  payload: readonly number[],
  fragment = 0,
): number[] {
  const header = [
    0x45,
    0,
    ...be16(20 + payload.length),
    0x12,
    0x34,
    ...be16(fragment),
    64,
    protocol,
    0,
    0,
    ...from,
    ...to,
  ]
  const sum = be16(checksum(header))
  return [...header.slice(0, 10), ...sum, ...header.slice(12), ...payload]
}

export function pseudo(protocol: number, from: readonly number[], to: readonly number[], length: number): number[] {
  return [...from, ...to, 0, protocol, ...be16(length)]
}

/** UDP with a full checksum, or with that of the pseudo header alone. */
export function udp(
  from: readonly number[],
  to: readonly number[],
  source: number,
  destination: number,
  payload: readonly number[],
  partial = false,
): number[] {
  const length = 8 + payload.length
  const bare = [...be16(source), ...be16(destination), ...be16(length), 0, 0, ...payload]
  const head = pseudo(17, from, to, length)
  const sum = partial ? 0xffff - checksum(head) : checksum([...head, ...bare])
  return [...bare.slice(0, 6), ...be16(sum), ...payload]
}
