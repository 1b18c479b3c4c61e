import { invalidValue } from '@virtio-ts/command-line'
import { checkSupported, type Locator, parseLocator } from '@virtio-ts/device-locator'
import { blockDevice } from '../disk/block-device.ts'
import { parseSize } from '../disk/size.ts'

/** What sun_path of struct sockaddr_un holds, with a zero behind. */
const maxSocketPath = 107
/** Of an export, in bytes; the protocol's advice. */
const maxName = 256

/** The locator of a device that blkd can open. @throws CommandError `locator.*` */
export function parseBlockLocator(text: string): Locator {
  const locator = parseLocator(text)
  checkSupported(blockDevice(), locator)
  return locator
}

/** `unix:PATH`. @returns the path @throws CommandError `usage.invalid-value` */
export function parseNbd(text: string): string {
  const example = '--nbd unix:/run/disk.sock'
  if (!text.startsWith('unix:') || text.length === 'unix:'.length)
    throw invalidValue('nbd', text, 'it is unix: and the path of a socket', example)
  const path = text.slice('unix:'.length)
  if (Buffer.byteLength(path) > maxSocketPath)
    throw invalidValue('nbd', text, `a socket's path has at most ${maxSocketPath} bytes`, example)
  return path
}

/** @throws CommandError `usage.invalid-value` */
export function parseName(text: string): string {
  if (Buffer.byteLength(text) <= maxName && /^[^\p{Cc}]+$/u.test(text)) return text
  throw invalidValue('name', text, `a name has at most ${maxName} bytes, and no control characters`, '--name disk')
}

/** @throws CommandError `usage.invalid-value` */
export function parseBytes(option: string, text: string, least: number, most: number): number {
  const size = parseSize(text)
  if (size !== undefined && size >= least && size <= most) return size
  throw invalidValue(option, text, `it is a number of bytes from ${least} to ${most}; K, M and G may stand behind it`)
}
