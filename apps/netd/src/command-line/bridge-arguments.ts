import { CommandError, invalidValue, type ParsedArguments } from '@virtio-ts/command-line'
import { formatLocator, type Locator } from '@virtio-ts/device-locator'
import { type MetricsEndpoint, parseMetricsEndpoint } from '../metrics/metrics-endpoint.ts'
import { parseFeatures, parseNetLocator, parseQueues } from './option-values.ts'

/** `netd bridge`, checked: everything in here is well formed. */
export interface BridgeArguments {
  readonly locators: readonly [Locator, Locator]
  /** What the session is called; undefined: the first free of bridge0, bridge1, ... */
  readonly name: string | undefined
  /** Pairs of queues wanted of each device. */
  readonly queues: number
  readonly noOffload: boolean
  /** Names of features never to accept, of either device. */
  readonly features: readonly string[]
  readonly metrics: MetricsEndpoint | undefined
  readonly poll: boolean
  /** Takes a PCI function of this machine also when a default route goes over it. */
  readonly force: boolean
  /** Waits for a PCI function that was unplugged. */
  readonly wait: boolean
  readonly json: boolean
}

function parseName(text: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/.test(text)) return text
  throw invalidValue(
    'name',
    text,
    'a name has 1 to 15 letters, digits, "_", "-" and ".", and does not begin with "-" or "."',
    '--name bridge0',
  )
}

/** Models and benches are new devices each time. */
function isSame(a: Locator, b: Locator): boolean {
  if ('path' in a && 'path' in b) return a.path === b.path
  return 'address' in a && 'address' in b && a.address === b.address
}

/** @throws CommandError `usage.*`, `locator.*` */
export function bridgeArguments({ flags, values, positionals }: ParsedArguments): BridgeArguments {
  const given = <T>(option: string, parse: (text: string) => T): T | undefined => {
    const text = values.get(option)
    return text === undefined ? undefined : parse(text)
  }
  const a = parseNetLocator(positionals[0] ?? '')
  const b = parseNetLocator(positionals[1] ?? '')
  if (isSame(a, b)) {
    throw new CommandError('usage.invalid-value', `both devices are ${formatLocator(a)}`, {
      why: 'a device cannot be bridged with itself',
      fix: 'netd bridge vhost-user:/run/vm-a.sock vhost-user:/run/vm-b.sock',
    })
  }
  return {
    locators: [a, b],
    name: given('name', parseName),
    queues: given('queues', parseQueues) ?? 1,
    noOffload: flags.has('no-offload'),
    features: given('features', parseFeatures) ?? [],
    metrics: given('metrics', parseMetricsEndpoint),
    poll: flags.has('poll'),
    force: flags.has('force'),
    wait: flags.has('wait'),
    json: flags.has('json'),
  }
}
