import { NetFeature, ReservedFeature } from '@virtio-ts/spec'
import { NetdError } from './netd-error.ts'
import { suggestion } from './suggestion.ts'

/** More queues a TAP interface does not have. */
const maxQueues = 256

/** The error for a value that an option cannot have. @param example what to do: a command line that works */
export function invalidValue(option: string, value: string, why: string, example?: string): NetdError {
  const shown = JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  return new NetdError('usage.invalid-value', `--${option} ${shown} cannot be used`, {
    why,
    fix: example ?? 'netd --help',
  })
}

/** @throws NetdError `usage.invalid-value` */
export function parseNumber(option: string, text: string, min: number, max: number): number {
  const number = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(number >= min && number <= max)) throw invalidValue(option, text, `it is a whole number from ${min} to ${max}`)
  return number
}

/** @throws NetdError `usage.invalid-value` */
export function parseQueues(text: string): number {
  return parseNumber('queues', text, 1, maxQueues)
}

/** `-CSUM,-MRG_RXBUF`: names to leave out. Features cannot be added: what driver and device both know is used anyway. @throws NetdError `usage.invalid-value` */
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
