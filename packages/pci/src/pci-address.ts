import { PciError } from './pci-function.ts'

/** Where a function sits: domain 0 to 0xffffffff, bus 0 to 255, device 0 to 31, function 0 to 7. */
export interface PciAddress {
  readonly domain: number
  readonly bus: number
  readonly device: number
  readonly function: number
}

const pattern = /^(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])$/i

/**
 * Reads `0000:00:04.0`, and `00:04.0`, which is in domain 0.
 * @throws PciError `pci.address` for anything else
 */
export function parseAddress(text: string): PciAddress {
  const match = pattern.exec(text)
  const [, domain = '0', bus = '', device = '', fn = ''] = match ?? []
  const address = {
    domain: Number.parseInt(domain, 16),
    bus: Number.parseInt(bus, 16),
    device: Number.parseInt(device, 16),
    function: Number.parseInt(fn, 16),
  }
  if (match && address.device <= 0x1f) return address
  throw new PciError(
    'pci.address',
    `${JSON.stringify(text)} is not a PCI address: write domain:bus:device.function in hexadecimal, e.g. 0000:00:04.0 (the domain may be left out)`,
  )
}

/** The full form with leading zeros, as Linux spells it: `0000:00:04.0`. */
export function formatAddress(address: PciAddress): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')
  return `${hex(address.domain, 4)}:${hex(address.bus, 2)}:${hex(address.device, 2)}.${address.function}`
}
