import { CommandError } from '@virtio-ts/command-line'
import {
  type DeviceProfile,
  honest,
  hostile,
  hostileKinds,
  type ModelFunctionOptions,
  sloppy,
  strict,
} from '@virtio-ts/device-models'
import type { LocatorOptions } from './locator-options.ts'

const profiles: ReadonlyMap<string, () => DeviceProfile> = new Map([
  ['honest', honest],
  ['sloppy', sloppy],
  ['strict', strict],
])
const interfaces = ['modern', 'legacy', 'transitional'] as const

/** What every software device takes behind `model:NAME,` (described in docs/netd.md). */
const commonOptions: readonly string[] = ['profile', 'hostile', 'interface', 'packed']

/** The error for an option of a software device that cannot be used. @param name the device's: `net` */
export function modelOptionError(name: string, key: string, why: string): CommandError {
  return new CommandError('locator.option', `model:${name} cannot use this ${key}`, {
    why,
    fix: `model:${name},profile=strict`,
  })
}

/** @param own options that this device has besides those of every one @throws CommandError `locator.option` */
export function checkModelOptions(name: string, options: LocatorOptions, own: readonly string[]): void {
  const known = [...commonOptions, ...own]
  const unknown = Object.keys(options).find((key) => !known.includes(key))
  if (unknown !== undefined) throw modelOptionError(name, unknown, `known are ${known.join(', ')}`)
}

/**
 * How a software device behaves, whatever device it is: `profile=honest|sloppy|strict`, `hostile=MISDEED`,
 * `interface=modern|legacy|transitional`, `packed=on|off`.
 * @param moreProfiles names of profiles that the caller itself deals with, for the message
 * @throws CommandError `locator.option`
 */
export function modelFunctionOptions(
  name: string,
  options: LocatorOptions,
  moreProfiles: readonly string[] = [],
): ModelFunctionOptions {
  const { profile = 'honest', hostile: misdeed, interface: face = 'modern', packed = 'off' } = options
  const make = misdeed === undefined ? profiles.get(profile) : hostileProfile(name, misdeed)
  if (!make) throw modelOptionError(name, 'profile', `one of ${[...profiles.keys(), ...moreProfiles].join(', ')}`)
  const known = interfaces.find((candidate) => candidate === face)
  if (!known) throw modelOptionError(name, 'interface', `one of ${interfaces.join(', ')}`)
  if (packed !== 'on' && packed !== 'off') throw modelOptionError(name, 'packed', 'on or off')
  return { interface: known, profile: make(), ringFeatures: { RING_PACKED: packed === 'on' } }
}

function hostileProfile(name: string, misdeed: string): () => DeviceProfile {
  const kind = hostileKinds.find((candidate) => candidate === misdeed)
  if (!kind) throw modelOptionError(name, 'hostile', `one of ${hostileKinds.join(', ')}`)
  return () => hostile({ kind })
}
