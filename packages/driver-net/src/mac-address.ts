const MULTICAST = 1
const LOCALLY_ADMINISTERED = 2

/** Whether these six bytes can be a network interface's own address: not all zero, not a group's. */
export function isUnicastMac(mac: Uint8Array): boolean {
  return mac.length === 6 && (mac[0]! & MULTICAST) === 0 && mac.some((byte) => byte !== 0)
}

export function isMulticastMac(mac: Uint8Array): boolean {
  return mac.length === 6 && (mac[0]! & MULTICAST) !== 0
}

/**
 * An address nobody was assigned.
 * @see VIRTIO 1.3 § 5.1.4.2 "Driver Requirements: Device configuration layout"
 */
export function randomMac(): Uint8Array {
  const mac = crypto.getRandomValues(new Uint8Array(6))
  mac[0] = (mac[0]! & ~MULTICAST) | LOCALLY_ADMINISTERED
  return mac
}

/** As people write it: `52:54:00:12:34:56`. */
export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':')
}
