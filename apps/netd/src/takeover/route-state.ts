import { option } from './ip-command.ts'
import {
  type Family,
  familyPattern,
  interfaceName,
  ipAddress,
  isAddress,
  isDestination,
  tableName,
} from './network-patterns.ts'
import { PlainFields, present } from './plain-fields.ts'

/** Where a route goes next. */
export interface HopState {
  /** Missing: straight onto the link. */
  readonly gateway?: string
  /** Of the gateway, where it is not the route's own. */
  readonly gatewayFamily?: Family
  readonly dev: string
  readonly weight?: number
  readonly onlink?: boolean
}

/** One route over an interface, as it has to be given again. */
export interface RouteState {
  readonly family: Family
  /** `unicast`, `local`, ... */
  readonly type: string
  readonly destination: string
  /** Packets from there only. */
  readonly from?: string
  readonly table: string
  readonly protocol: string
  /** IPv4 only. */
  readonly scope?: string
  readonly source?: string
  readonly metric?: number
  readonly tos?: string
  readonly preference?: string
  /** Seconds that were left when it was recorded. */
  readonly expires?: number
  /** Whole numbers by the names ip(8) takes: mtu, advmss. */
  readonly metrics?: readonly { readonly name: string; readonly value: number }[]
  readonly hops: readonly HopState[]
}

const maxNumber = 0xffff_ffff
const types = /^(unicast|local|broadcast|multicast|anycast)$/
const destinationText = /^[0-9a-fA-F.:/]{2,49}$|^default$/
/** Metrics that ip(8) prints and takes as the same whole number. */
const metricName = /^(mtu|advmss|window|initcwnd|initrwnd|hoplimit|quickack)$/

/** @throws FieldError */
export function routeState(value: unknown, where: string): RouteState {
  const fields = new PlainFields(value, where)
  const family = fields.text('family', familyPattern) as Family
  const checked = (name: string, pattern: RegExp, valid: (family: Family, text: string) => boolean) => {
    const text = fields.optionalText(name, pattern)
    if (text !== undefined && !valid(family, text)) throw fields.wrong(name)
    return text
  }
  const destination = checked('destination', destinationText, isDestination)
  if (destination === undefined) throw fields.wrong('destination')
  const state = {
    family,
    type: fields.text('type', types),
    destination,
    from: checked('from', destinationText, isDestination),
    table: fields.text('table', tableName),
    protocol: fields.text('protocol', tableName),
    scope: fields.optionalText('scope', tableName),
    source: checked('source', ipAddress, isAddress),
    metric: fields.optionalInteger('metric', 0, maxNumber),
    tos: fields.optionalText('tos', /^[A-Za-z0-9_-]{1,16}$/),
    preference: fields.optionalText('preference', /^(low|medium|high)$/),
    expires: fields.optionalInteger('expires', 0, maxNumber),
    metrics: fields.has('metrics') ? fields.list('metrics', metricState) : undefined,
    hops: fields.list('hops', (hop, at) => hopState(hop, at, family)),
  }
  fields.finish()
  if (state.hops.length === 0) throw fields.wrong('hops')
  return present<RouteState>(state)
}

function metricState(value: unknown, where: string): { name: string; value: number } {
  const fields = new PlainFields(value, where)
  const metric = { name: fields.text('name', metricName), value: fields.integer('value', 0, maxNumber) }
  fields.finish()
  return metric
}

function hopState(value: unknown, where: string, family: Family): HopState {
  const fields = new PlainFields(value, where)
  const gatewayFamily = fields.optionalText('gatewayFamily', familyPattern) as Family | undefined
  const gateway = fields.optionalText('gateway', ipAddress)
  if (gateway !== undefined && !isAddress(gatewayFamily ?? family, gateway)) throw fields.wrong('gateway')
  const hop = {
    gateway,
    gatewayFamily,
    dev: fields.text('dev', interfaceName),
    weight: fields.optionalInteger('weight', 1, 256),
    onlink: fields.flag('onlink') || undefined,
  }
  fields.finish()
  return present<HopState>(hop)
}

type IpObject = Readonly<Record<string, unknown>>

function hopFromIp(from: IpObject): object {
  const via = from['via'] as IpObject | undefined
  const flags = (from['flags'] ?? []) as readonly unknown[]
  return {
    gateway: from['gateway'] ?? via?.['host'],
    gatewayFamily: via?.['family'],
    dev: from['dev'],
    weight: from['weight'],
    onlink: flags.includes('onlink'),
  }
}

/**
 * What `ip -json -details route show table all` says of one route, or undefined for one that is none of this interface's or that the
 * kernel makes by itself with the address it belongs to.
 * @throws FieldError
 */
export function routeFromIp(value: unknown, family: Family, name: string): RouteState | undefined {
  const from = value as IpObject
  const hops = Array.isArray(from['nexthops']) ? (from['nexthops'] as readonly IpObject[]) : [from]
  if (!hops.some(({ dev }) => dev === name) || from['protocol'] === 'kernel') return undefined
  const metrics = Object.entries(((from['metrics'] ?? []) as readonly IpObject[])[0] ?? {})
    .filter(([key, number]) => metricName.test(key) && typeof number === 'number')
    .map(([key, number]) => ({ name: key, value: number }))
  return routeState(
    {
      family,
      type: from['type'] ?? 'unicast',
      destination: from['dst'],
      from: from['from'],
      table: from['table'] ?? 'main',
      protocol: from['protocol'] ?? 'boot',
      scope: family === 'inet' ? from['scope'] : undefined,
      source: from['prefsrc'],
      metric: from['metric'],
      tos: from['tos'],
      preference: from['pref'],
      expires: from['expires'],
      ...(metrics.length > 0 ? { metrics } : {}),
      hops: hops.map(hopFromIp),
    },
    'route',
  )
}

/** `default via 10.0.2.2`, with the table where it is not the main one. */
export function routeText({ destination, hops, table }: RouteState): string {
  const via = hops.flatMap(({ gateway }) => (gateway === undefined ? [] : [` via ${gateway}`])).join('')
  return `${destination}${via}${table === 'main' ? '' : ` table ${table}`}`
}

/**
 * Arguments of ip(8) that make the route again, or undefined when its time is over.
 * @param rename interfaces that are called something else now
 * @param elapsed seconds since it was recorded
 */
export function routeArguments(
  state: RouteState,
  rename: (name: string) => string,
  elapsed: number,
): readonly string[] | undefined {
  const left = state.expires === undefined ? undefined : state.expires - Math.floor(elapsed)
  if (left !== undefined && left <= 0) return undefined
  const hop = ({ gateway, gatewayFamily, dev, onlink }: HopState): string[] => [
    ...(gateway === undefined ? [] : ['via', ...(gatewayFamily === undefined ? [] : [gatewayFamily]), gateway]),
    'dev',
    rename(dev),
    ...(onlink ? ['onlink'] : []),
  ]
  const [only] = state.hops
  return [
    state.family === 'inet' ? '-4' : '-6',
    'route',
    // Several hops may have lost only one of them; a single one is added, so that it pushes no other route out.
    state.hops.length > 1 ? 'replace' : 'add',
    ...(state.type === 'unicast' ? [] : [state.type]),
    state.destination,
    ...option('from', state.from),
    ...option('tos', state.tos),
    ...option('table', state.table),
    ...option('proto', state.protocol),
    ...option('scope', state.scope),
    ...option('src', state.source),
    ...option('metric', state.metric),
    ...option('pref', state.preference),
    ...option('expires', left),
    ...(state.metrics ?? []).flatMap(({ name, value }) => [name, String(value)]),
    ...(only !== undefined && state.hops.length === 1
      ? hop(only)
      : state.hops.flatMap((each) => ['nexthop', ...hop(each), ...option('weight', each.weight)])),
  ]
}
