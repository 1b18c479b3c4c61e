import { NetFeature, ReservedFeature } from '@virtio-ts/spec'
import { parseLocator, type SupportedLocator, supportedLocator } from '../locator.ts'
import { type MetricsEndpoint, parseMetricsEndpoint } from '../metrics/metrics-endpoint.ts'
import { NetdError } from './netd-error.ts'
import type { ParsedArguments } from './parse-arguments.ts'
import { suggestion } from './suggestion.ts'

/** `netd run`, checked: everything in here is well formed. */
export interface RunArguments {
  readonly locator: SupportedLocator
  /** Name of the TAP interface; with `%d` in it the kernel puts the first free number there. */
  readonly tap: string
  /** Six octets, lower case, colons; unicast. */
  readonly mac: string | undefined
  readonly mtu: number | undefined
  readonly queues: 1
  readonly noOffload: boolean
  /** Names of features never to accept, each known to the specification's tables; no doubles. */
  readonly features: readonly string[]
  /** Path of a pcapng file or FIFO. */
  readonly capture: string | undefined
  readonly metrics: MetricsEndpoint | undefined
  readonly poll: boolean
  readonly json: boolean
}

const defaultTap = 'vt%d'

function invalid(option: string, value: string, why: string, example?: string): NetdError {
  const shown = JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  return new NetdError('usage.invalid-value', `--${option} ${shown} cannot be used`, {
    why,
    fix: example ?? 'netd run --help',
  })
}

/** What the kernel takes as the name of an interface and we as the name of a session; `%d` is the kernel's placeholder. */
function parseTap(text: string): string {
  if (text.length > 15)
    throw invalid('tap', text, `an interface name has at most 15 characters, this has ${text.length}`)
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*(%d)?$/.test(text)) {
    throw invalid(
      'tap',
      text,
      'an interface name is made of letters, digits, "_", "-" and ".", and does not begin with "-" or "."',
      '--tap vt0',
    )
  }
  return text
}

function parseMac(text: string): string {
  if (!/^[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}$/i.test(text)) {
    throw invalid('mac', text, 'a MAC address is six pairs of hexadecimal digits', '--mac 52:54:00:12:34:56')
  }
  const mac = text.toLowerCase().replaceAll('-', ':')
  if (Number.parseInt(mac.slice(0, 2), 16) & 1) {
    throw invalid(
      'mac',
      text,
      'the lowest bit of its first octet is set: a group address, which no interface can have',
      '--mac 52:54:00:12:34:56',
    )
  }
  if (mac === '00:00:00:00:00:00')
    throw invalid('mac', text, 'the all-zero address names no interface', '--mac 52:54:00:12:34:56')
  return mac
}

function parseNumber(option: string, text: string, min: number, max: number): number {
  const number = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(number >= min && number <= max)) throw invalid(option, text, `it is a whole number from ${min} to ${max}`)
  return number
}

function parseQueues(text: string): 1 {
  const queues = parseNumber('queues', text, 1, 32768)
  if (queues !== 1) {
    throw invalid(
      'queues',
      text,
      'this version drives one pair of queues; more come with multiqueue',
      '--queues 1, or leave it out',
    )
  }
  return queues
}

/** `-CSUM,-MRG_RXBUF`: names to leave out. Features cannot be added: what driver and device both know is used anyway. */
function parseFeatures(text: string): readonly string[] {
  const known = [...Object.keys(NetFeature), ...Object.keys(ReservedFeature)]
  const names = new Set<string>()
  for (const item of text.split(',')) {
    const name = item
      .slice(1)
      .toUpperCase()
      .replace(/^VIRTIO_(NET_F|F|RING_F)_/, '')
    if (!item.startsWith('-') || name === '') {
      throw invalid(
        'features',
        text,
        `${JSON.stringify(item)} does not begin with "-": features can only be left out`,
        '--features -CSUM,-MRG_RXBUF',
      )
    }
    if (!known.includes(name)) {
      const meant = suggestion(name, known)
      throw invalid(
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

/** @throws NetdError `usage.*`, `locator.*` */
export function runArguments({ flags, values, positionals }: ParsedArguments): RunArguments {
  const given = <T>(option: string, parse: (text: string) => T): T | undefined => {
    const text = values.get(option)
    return text === undefined ? undefined : parse(text)
  }
  const capture = values.get('capture')
  if (capture === '-') {
    throw invalid(
      'capture',
      '-',
      'stdout of netd run carries its own lines',
      'netd capture NAME -w - | tcpdump -nr -   (in a second terminal)',
    )
  }
  return {
    locator: supportedLocator(parseLocator(positionals[0] ?? '')),
    tap: given('tap', parseTap) ?? defaultTap,
    mac: given('mac', parseMac),
    mtu: given('mtu', (text) => parseNumber('mtu', text, 68, 65535)),
    queues: given('queues', parseQueues) ?? 1,
    noOffload: flags.has('no-offload'),
    features: given('features', parseFeatures) ?? [],
    capture,
    metrics: given('metrics', parseMetricsEndpoint),
    poll: flags.has('poll'),
    json: flags.has('json'),
  }
}
