import { hasControlCharacters, invalidValue } from '@virtio-ts/command-line'
import { checkSupported, type Locator, parseLocator } from '@virtio-ts/device-locator'
import { consoleDevice } from '../session/console-device.ts'

/** The locator of a device that vcon can open. @throws CommandError `locator.*` */
export function parseConsoleLocator(text: string): Locator {
  const locator = parseLocator(text)
  checkSupported(consoleDevice, locator)
  // What it would start is made once for nothing: mistakes in it are known before anything runs.
  if (locator.scheme === 'qemu') consoleDevice.bench(locator)
  return locator
}

/** Digits are a number, everything else is a name. @throws CommandError `usage.invalid-value` */
export function parsePort(text: string): number | string {
  if (hasControlCharacters(text)) throw invalidValue('port', text, 'no port has a name with control characters')
  if (!/^[0-9]+$/.test(text)) return text
  const number = Number(text)
  if (number > 0xffff) throw invalidValue('port', text, 'port numbers are from 0 to 65535')
  return number
}

/** The byte a key with Ctrl makes: `^]` is 29. @returns undefined for `none` @throws CommandError `usage.invalid-value` */
export function parseEscape(text: string): number | undefined {
  if (text === 'none') return undefined
  const code = text.toUpperCase().charCodeAt(1)
  if (text.length === 2 && text.startsWith('^') && code >= 0x40 && code <= 0x5f) return code - 0x40
  throw invalidValue('escape', text, 'it is ^ and one of @ A-Z [ \\ ] ^ _, or none', '--escape ^]')
}

/** Seconds, as milliseconds. @throws CommandError `usage.invalid-value` */
export function parseWait(text: string): number {
  const seconds = /^[0-9]{1,5}(\.[0-9]{1,3})?$/.test(text) ? Number(text) : Number.NaN
  if (!(seconds <= 86_400)) throw invalidValue('wait', text, 'it is a number of seconds up to 86400', '--wait 2')
  return Math.round(seconds * 1000)
}
