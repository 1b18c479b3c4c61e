import { invalidValue, parseNumber, suggestion } from '@virtio-ts/command-line'
import { checkSupported, type Locator, parseLocator } from '@virtio-ts/device-locator'
import { NetFeature, ReservedFeature } from '@virtio-ts/spec'
import { netDevice } from '../session/net-device.ts'

/** More queues a TAP interface does not have. */
const maxQueues = 256

/** The locator of a device that netd can open. @throws CommandError `locator.*` */
export function parseNetLocator(text: string): Locator {
  const locator = parseLocator(text)
  checkSupported(netDevice(), locator)
  return locator
}

/** @throws CommandError `usage.invalid-value` */
export function parseQueues(text: string): number {
  return parseNumber('queues', text, 1, maxQueues)
}

/** `-CSUM,-MRG_RXBUF`: names to leave out. Features cannot be added: what driver and device both know is used anyway. @throws CommandError `usage.invalid-value` */
export function parseFeatures(text: string): readonly string[] {
  const known = [...Object.keys(NetFeature), ...Object.keys(ReservedFeature)]
  const names = new Set<string>()
  for (const item of text.split(',')) {
    const name = item
      .slice(1)
      .toUpperCase()
      .replace(/^VIRTIO_(NET_F|F|RING_F)_/, '')
    if (!item.startsWith('-') || name === '') {
      throw invalidValue(
        'features',
        text,
        `${JSON.stringify(item)} does not begin with "-": features can only be left out`,
        '--features -CSUM,-MRG_RXBUF',
      )
    }
    if (!known.includes(name)) {
      const meant = suggestion(name, known)
      throw invalidValue(
        'features',
        text,
        `no feature is called ${JSON.stringify(name)}${meant ? `; did you mean ${meant}?` : ''}`,
        `features: ${known.join(' ')}`,
      )
    }
    names.add(name)
  }
  return [...names]
}
