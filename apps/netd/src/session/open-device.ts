import type { SupportedLocator } from '../locator.ts'
import type { VhostUserNet } from './open-vhost-user.ts'
import type { OpenedDevice } from './opened-device.ts'

/**
 * Opens the device a locator names; what opens it is loaded only then.
 * @throws QemuError, NetdError
 */
export async function openDevice(
  locator: SupportedLocator,
  net: VhostUserNet,
  signal: AbortSignal,
): Promise<OpenedDevice> {
  signal.throwIfAborted()
  switch (locator.scheme) {
    case 'qemu':
      return (await import('./open-bench.ts')).openBench(locator)
    case 'vhost-user':
      return (await import('./open-vhost-user.ts')).openVhostUser(locator, net)
    case 'model':
      return (await import('./open-model.ts')).openModel(locator)
  }
}
