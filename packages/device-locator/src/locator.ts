import { CommandError, hasControlCharacters, suggestion } from '@virtio-ts/command-line'
import { escapeCommas, formatOptions, type LocatorOptions, parseOptions, splitEscaped } from './locator-options.ts'

/** An in-process software device. */
export interface ModelLocator {
  readonly scheme: 'model'
  readonly device: string
  readonly options: LocatorOptions
}

export type QemuNetdevKind = 'user' | 'tap' | 'hub' | 'stream'
export type QemuMachine = 'q35' | 'pc'

/** A device of a QEMU bench, made by `-device DEVICE,PROPERTIES`. */
export interface QemuLocator {
  readonly scheme: 'qemu'
  readonly device: string
  /** As QEMU spells them. */
  readonly properties: LocatorOptions
  readonly netdev?: { readonly kind: QemuNetdevKind; readonly options: LocatorOptions }
  readonly drive?: { readonly path: string; readonly options: LocatorOptions }
  readonly chardev?: { readonly path: string; readonly options: LocatorOptions }
  readonly machine?: QemuMachine
}

/** A vhost-user back-end's socket. */
export interface VhostUserLocator {
  readonly scheme: 'vhost-user'
  readonly path: string
  /** True: the front-end listens and the back-end connects. */
  readonly server: boolean
}

/** A PCI function of this machine, reached through VFIO or through sysfs resources. */
export interface PciLocator {
  readonly scheme: 'vfio' | 'sysfs'
  /** `domain:bus:device.function` in lower case, e.g. `0000:00:04.0`. */
  readonly address: string
}

export type Locator = ModelLocator | QemuLocator | VhostUserLocator | PciLocator

const forms: Readonly<Record<Locator['scheme'], string>> = {
  model: 'model:DEVICE[,key=value...]',
  qemu: 'qemu:DEVICE[,prop=value...][;netdev=user|tap,ifname=..|hub|stream][;drive=IMAGE][;chardev=PATH][;machine=q35|pc]',
  'vhost-user': 'vhost-user:/path/to/socket[,server]',
  vfio: 'vfio:0000:00:04.0',
  sysfs: 'sysfs:0000:00:04.0',
}

const netdevKinds: readonly string[] = ['user', 'tap', 'hub', 'stream'] satisfies QemuNetdevKind[]
const machines: readonly string[] = ['q35', 'pc'] satisfies QemuMachine[]
const maxLength = 4096
/** What sun_path of struct sockaddr_un holds, with a zero behind. */
const maxSocketPath = 107

/** What the bench itself says about the device; a property of the same name would contradict it. */
const benchProperties: Readonly<Record<string, string>> = {
  id: 'the bench names the device itself',
  netdev: 'write it behind a semicolon: ;netdev=user',
  drive: 'write it behind a semicolon: ;drive=IMAGE',
  chardev: 'write it behind a semicolon: ;chardev=PATH',
}

/** What the text is quoted as in messages: one line, bounded, nothing a terminal would act on. */
function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}

function malformed(scheme: Locator['scheme'], what: string, why?: string): CommandError {
  return new CommandError('locator.syntax', what, { ...(why ? { why } : {}), fix: `the form is ${forms[scheme]}` })
}

/**
 * Parses a device locator. A literal comma or semicolon in a value is written twice, as QEMU has it for commas.
 * @throws CommandError `locator.syntax` for a malformed one, `locator.scheme` for a scheme nobody knows
 */
export function parseLocator(text: string): Locator {
  if (text.length > maxLength || hasControlCharacters(text)) {
    throw new CommandError('locator.syntax', `not a device locator: ${quote(text)}`, {
      why: text.length > maxLength ? `it is longer than ${maxLength} characters` : 'it holds control characters',
    })
  }
  const colon = text.indexOf(':')
  const scheme = text.slice(0, Math.max(colon, 0))
  const rest = text.slice(colon + 1)
  switch (scheme) {
    case 'model':
      return { scheme, ...parseDevice(scheme, rest) }
    case 'qemu':
      return parseQemu(rest)
    case 'vhost-user':
      return parseVhostUser(rest)
    case 'vfio':
    case 'sysfs':
      return { scheme, address: parseAddress(scheme, rest) }
    default:
      throw unknownScheme(text, scheme)
  }
}

function unknownScheme(text: string, scheme: string): CommandError {
  const meant = suggestion(scheme || text, Object.keys(forms))
  return new CommandError(
    'locator.scheme',
    scheme ? `unknown device locator scheme ${quote(scheme)}` : `not a device locator: ${quote(text)}`,
    {
      why: [
        ...(meant ? [`did you mean ${meant}:?`] : []),
        'a device locator is one of',
        ...Object.values(forms).map((form) => `  ${form}`),
      ],
    },
  )
}

function parseDevice(scheme: 'model' | 'qemu', text: string): { device: string; options: LocatorOptions } {
  const [device = '', ...items] = splitEscaped(text, ',')
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(device))
    throw malformed(scheme, `${scheme}: ${quote(device)} is not the name of a device`)
  return { device, options: parseOptions(items, (what) => malformed(scheme, `${scheme}: ${what}`)) }
}

function parseQemu(text: string): QemuLocator {
  const [head = '', ...parts] = splitEscaped(text, ';')
  const { device, options: properties } = parseDevice('qemu', head)
  for (const name of Object.keys(properties)) {
    if (Object.hasOwn(benchProperties, name)) {
      throw malformed('qemu', `qemu: property ${name} cannot be given here`, benchProperties[name])
    }
  }
  const locator: { -readonly [Key in keyof QemuLocator]: QemuLocator[Key] } = { scheme: 'qemu', device, properties }
  const seen = new Set<string>()
  for (const part of parts) {
    const equals = part.indexOf('=')
    const key = part.slice(0, Math.max(equals, 0))
    if (seen.has(key)) throw malformed('qemu', `qemu: ;${key}= is given twice`)
    seen.add(key)
    const [value = '', ...items] = splitEscaped(part.slice(equals + 1), ',')
    const partOptions = parseOptions(items, (what) => malformed('qemu', `;${key}=: ${what}`))
    switch (key) {
      case 'netdev':
        if (!netdevKinds.includes(value))
          throw malformed('qemu', `qemu: no network back-end ${quote(value)}`, `one of ${netdevKinds.join(', ')}`)
        if (Object.hasOwn(partOptions, 'id'))
          throw malformed('qemu', 'qemu: ;netdev= takes no id', 'the bench names the back-end itself')
        locator.netdev = { kind: value as QemuNetdevKind, options: partOptions }
        break
      case 'drive':
      case 'chardev':
        if (value === '') throw malformed('qemu', `qemu: ;${key}= needs a path`)
        locator[key] = { path: value, options: partOptions }
        break
      case 'machine':
        if (!machines.includes(value) || items.length > 0)
          throw malformed('qemu', `qemu: no machine ${quote(part.slice(equals + 1))}`, `one of ${machines.join(', ')}`)
        locator.machine = value as QemuMachine
        break
      default:
        throw malformed(
          'qemu',
          `qemu: unknown part ${quote(`;${part}`)}`,
          'parts are ;netdev=, ;drive=, ;chardev=, ;machine=',
        )
    }
  }
  return locator
}

function parseVhostUser(text: string): VhostUserLocator {
  const [path = '', ...items] = splitEscaped(text, ',')
  if (path === '') throw malformed('vhost-user', 'vhost-user: needs the path of a socket')
  if (Buffer.byteLength(path) > maxSocketPath)
    throw malformed(
      'vhost-user',
      `vhost-user: a socket's path has at most ${maxSocketPath} bytes`,
      `this has ${Buffer.byteLength(path)}`,
    )
  const unknown = items.find((item) => item !== 'server')
  if (unknown !== undefined || items.length > 1)
    throw malformed('vhost-user', `vhost-user: unknown option ${quote(items.join(','))}`)
  return { scheme: 'vhost-user', path, server: items.length === 1 }
}

function parseAddress(scheme: 'vfio' | 'sysfs', text: string): string {
  const match = /^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/i.exec(text)
  if (!match) throw malformed(scheme, `${scheme}: ${quote(text)} is not a PCI address`)
  return `${match[1] ?? '0000'}:${match[2]}:${match[3]}.${match[4]}`.toLowerCase()
}

/** The text that `parseLocator` reads back as the same locator. */
export function formatLocator(locator: Locator): string {
  switch (locator.scheme) {
    case 'model':
      return `model:${locator.device}${formatOptions(locator.options)}`
    case 'qemu': {
      const { netdev, drive, chardev, machine } = locator
      const parts = [`${locator.device}${formatOptions(locator.properties)}`]
      if (netdev) parts.push(`netdev=${netdev.kind}${formatOptions(netdev.options)}`)
      if (drive) parts.push(`drive=${escapeCommas(drive.path)}${formatOptions(drive.options)}`)
      if (chardev) parts.push(`chardev=${escapeCommas(chardev.path)}${formatOptions(chardev.options)}`)
      if (machine) parts.push(`machine=${machine}`)
      return `qemu:${parts.map((part) => part.replaceAll(';', ';;')).join(';')}`
    }
    case 'vhost-user':
      return `vhost-user:${escapeCommas(locator.path)}${locator.server ? ',server' : ''}`
    default:
      return `${locator.scheme}:${locator.address}`
  }
}
