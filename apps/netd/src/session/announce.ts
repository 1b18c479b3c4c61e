import { networkInterfaces } from 'node:os'
import type { NetDriver } from '@virtio-ts/driver-net'
import { gratuitousArp } from '../packets/arp-packet.ts'

/**
 * Tells the network where this interface is: one gratuitous ARP for each of its IPv4 addresses, as the device asks for after a
 * migration. @returns how many were sent
 * @see VIRTIO 1.3 § 5.1.6.5.4 "Gratuitous Packet Sending"
 */
export function announce(driver: NetDriver, interfaceName: string): number {
  let sent = 0
  for (const address of networkInterfaces()[interfaceName] ?? []) {
    if (address.family !== 'IPv4') continue
    if (driver.send(gratuitousArp(driver.mac, Uint8Array.from(address.address.split('.'), Number)))) sent++
  }
  return sent
}
