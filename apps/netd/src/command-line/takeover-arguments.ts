import { invalidValue, type ParsedArguments } from '@virtio-ts/command-line'
import type { BindArguments } from '../commands/bind.ts'
import type { ReleaseArguments } from '../commands/release.ts'
import { isTargetDriver, targetDrivers } from '../takeover/journal-entry.ts'

/** `vfio:0000:00:04.0,key=value` is the function at that address. */
const functionLocator = /^(?:vfio|sysfs):([^,;]+)/
/** Devices that are nobody's before netd has them, and nobody's afterwards. */
const otherLocator = /^(?:model|qemu|vhost-user):/

/** @throws CommandError `usage.*` */
export function bindArguments({ flags, values, positionals }: ParsedArguments): BindArguments {
  const driver = values.get('driver') ?? 'vfio-pci'
  if (!isTargetDriver(driver))
    throw invalidValue('driver', driver, `it is one of ${targetDrivers.join(', ')}`, '--driver vfio-pci')
  return { address: addressIn(positionals[0] ?? ''), driver, force: flags.has('force'), json: flags.has('json') }
}

/** Takes a locator too, so that a service can name its device once. */
export function releaseArguments({ flags, positionals }: ParsedArguments): ReleaseArguments {
  const text = positionals[0] ?? ''
  return { address: otherLocator.test(text) ? undefined : addressIn(text), json: flags.has('json') }
}

/** Whether it is an address at all is checked where it is used. */
function addressIn(text: string): string {
  return functionLocator.exec(text)?.[1] ?? text
}
