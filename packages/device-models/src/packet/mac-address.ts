export const MAC_LENGTH = 6
export const BROADCAST = 'ff:ff:ff:ff:ff:ff'

/** @param text six bytes in hexadecimal, with colons @throws TypeError for anything else */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text))
    throw new TypeError(`"${text}" is not a MAC address such as 52:54:00:12:34:56`)
  return Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16))
}

/** The address at `offset`, in lower case with colons. */
export function formatMac(bytes: Uint8Array, offset: number = 0): string {
  return Array.from(bytes.subarray(offset, offset + MAC_LENGTH), (byte) => byte.toString(16).padStart(2, '0')).join(':')
}
