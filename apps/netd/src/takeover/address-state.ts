import { option } from './ip-command.ts'
import { addressLabel, type Family, familyPattern, ipAddress, isAddress, tableName } from './network-patterns.ts'
import { PlainFields, present } from './plain-fields.ts'

/** ip(8)'s word for a lifetime without end. */
const forever = 0xffff_ffff

/** One address of an interface, as it has to be given again. */
export interface AddressState {
  readonly family: Family
  readonly local: string
  readonly prefix: number
  /** The other end of a point-to-point link. */
  readonly peer?: string
  readonly broadcast?: string
  readonly scope: string
  readonly label?: string
  readonly metric?: number
  /** Seconds that were left when it was recorded; missing: without end. */
  readonly validFor?: number
  readonly preferredFor?: number
  readonly noPrefixRoute?: boolean
  readonly noDuplicateDetection?: boolean
  readonly home?: boolean
  readonly managesTemporary?: boolean
}

/** @throws FieldError */
export function addressState(value: unknown, where: string): AddressState {
  const fields = new PlainFields(value, where)
  const family = fields.text('family', familyPattern) as Family
  const address = (name: string): string | undefined => {
    const text = fields.optionalText(name, ipAddress)
    if (text !== undefined && !isAddress(family, text)) throw fields.wrong(name)
    return text
  }
  const local = address('local')
  if (local === undefined) throw fields.wrong('local')
  const state = present<AddressState>({
    family,
    local,
    prefix: fields.integer('prefix', 0, family === 'inet' ? 32 : 128),
    peer: address('peer'),
    broadcast: address('broadcast'),
    scope: fields.text('scope', tableName),
    label: fields.optionalText('label', addressLabel),
    metric: fields.optionalInteger('metric', 0, forever),
    validFor: fields.optionalInteger('validFor', 0, forever),
    preferredFor: fields.optionalInteger('preferredFor', 0, forever),
    noPrefixRoute: fields.flag('noPrefixRoute') || undefined,
    noDuplicateDetection: fields.flag('noDuplicateDetection') || undefined,
    home: fields.flag('home') || undefined,
    managesTemporary: fields.flag('managesTemporary') || undefined,
  })
  fields.finish()
  return state
}

/**
 * What `ip -json address show` says of one address, or undefined for one that comes back by itself: a temporary one, or one that
 * turned out to be somebody else's.
 * @throws FieldError
 */
export function addressFromIp(value: unknown): AddressState | undefined {
  const from = value as Readonly<Record<string, unknown>>
  if (from['temporary'] === true || from['dadfailed'] === true) return undefined
  const lifetime = (name: string): unknown => (from[name] === forever ? undefined : from[name])
  return addressState(
    {
      family: from['family'],
      local: from['local'],
      prefix: from['prefixlen'],
      peer: from['address'],
      broadcast: from['broadcast'],
      scope: from['scope'],
      label: from['label'],
      metric: from['metric'],
      validFor: lifetime('valid_life_time'),
      preferredFor: lifetime('preferred_life_time'),
      noPrefixRoute: from['noprefixroute'],
      noDuplicateDetection: from['nodad'],
      home: from['home'],
      managesTemporary: from['mngtmpaddr'],
    },
    'address',
  )
}

/** `10.0.2.15/24` */
export function addressText({ local, peer, prefix }: AddressState): string {
  return peer === undefined ? `${local}/${prefix}` : `${local} peer ${peer}/${prefix}`
}

/**
 * Arguments of ip(8) that give the address to an interface, or undefined when its time is over.
 * @param name the interface as it is called now
 * @param formerName as it was called, which IPv4 labels begin with
 * @param elapsed seconds since it was recorded
 */
export function addressArguments(
  state: AddressState,
  name: string,
  formerName: string,
  elapsed: number,
): readonly string[] | undefined {
  const left = (seconds: number): number => Math.max(0, Math.min(seconds, seconds - Math.floor(elapsed)))
  const { validFor, preferredFor } = state
  if (validFor !== undefined && left(validFor) === 0) return undefined
  const label = state.label?.startsWith(formerName) ? name + state.label.slice(formerName.length) : state.label
  return [
    state.family === 'inet' ? '-4' : '-6',
    'address',
    'replace',
    ...(state.peer === undefined
      ? [`${state.local}/${state.prefix}`]
      : [state.local, 'peer', `${state.peer}/${state.prefix}`]),
    ...option('broadcast', state.broadcast),
    ...option('scope', state.scope),
    ...option('label', label !== undefined && label.length <= 15 ? label : undefined),
    ...option('metric', state.metric),
    ...option('valid_lft', validFor === undefined ? undefined : left(validFor)),
    ...option('preferred_lft', preferredFor === undefined ? undefined : left(preferredFor)),
    ...(state.noPrefixRoute ? ['noprefixroute'] : []),
    ...(state.noDuplicateDetection ? ['nodad'] : []),
    ...(state.home ? ['home'] : []),
    ...(state.managesTemporary ? ['mngtmpaddr'] : []),
    'dev',
    name,
  ]
}
