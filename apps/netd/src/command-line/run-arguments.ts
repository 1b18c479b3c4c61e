import { invalidValue as invalid, type ParsedArguments, parseNumber } from '@virtio-ts/command-line'
import type { Locator } from '@virtio-ts/device-locator'
import { type MetricsEndpoint, parseMetricsEndpoint } from '../metrics/metrics-endpoint.ts'
import { parseFeatures, parseNetLocator, parseQueues } from './option-values.ts'

/** `netd run`, checked: everything in here is well formed. */
export interface RunArguments {
  readonly locator: Locator
  /** Name of the TAP interface; with `%d` in it the kernel puts the first free number there. */
  readonly tap: string
  /** Six octets, lower case, colons; unicast. */
  readonly mac: string | undefined
  readonly mtu: number | undefined
  /** Pairs of queues wanted. */
  readonly queues: number
  readonly noOffload: boolean
  /** Names of features never to accept, each known to the specification's tables; no doubles. */
  readonly features: readonly string[]
  /** Path of a pcapng file or FIFO. */
  readonly capture: string | undefined
  readonly metrics: MetricsEndpoint | undefined
  readonly poll: boolean
  /** Takes a PCI function of this machine also when a default route goes over it. */
  readonly force: boolean
  /** Waits for a PCI function that was unplugged. */
  readonly wait: boolean
  readonly json: boolean
}

const defaultTap = 'vt%d'

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

/** @throws CommandError `usage.*`, `locator.*` */
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
    locator: parseNetLocator(positionals[0] ?? ''),
    tap: given('tap', parseTap) ?? defaultTap,
    mac: given('mac', parseMac),
    mtu: given('mtu', (text) => parseNumber('mtu', text, 68, 65535)),
    queues: given('queues', parseQueues) ?? 1,
    noOffload: flags.has('no-offload'),
    features: given('features', parseFeatures) ?? [],
    capture,
    metrics: given('metrics', parseMetricsEndpoint),
    poll: flags.has('poll'),
    force: flags.has('force'),
    wait: flags.has('wait'),
    json: flags.has('json'),
  }
}
