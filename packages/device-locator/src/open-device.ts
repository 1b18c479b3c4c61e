import { CommandError } from '@virtio-ts/command-line'
import type { DeviceKind } from './device-kind.ts'
import { formatLocator, type Locator, type PciLocator } from './locator.ts'
import type { OpenedDevice } from './opened-device.ts'

/** The error for a locator that was understood but that nothing here opens. */
function unsupportedLocator(kind: DeviceKind, locator: Locator): CommandError {
  return new CommandError('locator.unsupported', `${formatLocator(locator)} is not available in this version`, {
    why: 'it was understood, but nothing here can open it',
    fix: `${kind.examples.join(', ')} work`,
  })
}

/**
 * Narrows what is read of the command line to what `openDevice` opens, before anything is done.
 * @throws CommandError `locator.unsupported`
 */
export function checkSupported(kind: DeviceKind, locator: Locator): void {
  const { scheme } = locator
  const missing =
    scheme === 'model'
      ? locator.device !== kind.name
      : (scheme === 'vfio' || scheme === 'sysfs') && kind.hostFunction === undefined
  if (missing) throw unsupportedLocator(kind, locator)
}

/**
 * Opens the device a locator names; what opens it is loaded only then.
 * @param signal gives up before anything is started
 * @throws CommandError `locator.*`; QemuError, PciError of what opens it
 */
export async function openDevice(kind: DeviceKind, locator: Locator, signal: AbortSignal): Promise<OpenedDevice> {
  checkSupported(kind, locator)
  signal.throwIfAborted()
  switch (locator.scheme) {
    case 'qemu':
      return (await import('./open-bench.ts')).openBench(kind.bench(locator))
    case 'vhost-user':
      return (await import('./open-vhost-user.ts')).openVhostUser(kind, locator)
    case 'model':
      return (await import('./pci-device.ts')).ownedPciDevice(await kind.model(locator.options))
    case 'vfio':
    case 'sysfs':
      return openHostFunction(kind, locator, signal)
  }
}

async function openHostFunction(kind: DeviceKind, locator: PciLocator, signal: AbortSignal): Promise<OpenedDevice> {
  const { hostFunction: user } = kind
  if (user === undefined) throw unsupportedLocator(kind, locator)
  const { functionOpener, HostFunction } = await import('./host-function.ts')
  const opener = await functionOpener(locator, user.onWarning ?? (() => {}))
  return HostFunction.open(locator, user, opener, signal)
}
