import { isIPv4, isIPv6 } from 'node:net'

/** What the kernel takes as the name of an interface, less what a command line could misread: it never begins with a dash. */
export const interfaceName: RegExp = /^(?!\.{1,2}$)[A-Za-z0-9_.][A-Za-z0-9_.@:-]{0,14}$/
/** With an alias behind a colon, as IPv4 addresses have them. */
export const addressLabel: RegExp = /^[A-Za-z0-9_.][A-Za-z0-9_.@:-]{0,15}$/
export const macAddress: RegExp = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/
/** A name or a number from iproute2's tables: of a scope, a protocol, a routing table. */
export const tableName: RegExp = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/

export type Family = 'inet' | 'inet6'

export const familyPattern: RegExp = /^inet6?$/

/** An address without a prefix length. */
export const ipAddress: RegExp = /^[0-9a-fA-F.:]{2,45}$/

export function isAddress(family: Family, text: string): boolean {
  return family === 'inet' ? isIPv4(text) : isIPv6(text) && !text.includes('%')
}

/** `default`, an address, or one with a prefix length. */
export function isDestination(family: Family, text: string): boolean {
  if (text === 'default') return true
  const [address = '', prefix, ...rest] = text.split('/')
  if (rest.length > 0 || !isAddress(family, address)) return false
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 'inet' ? 32 : 128))
}
