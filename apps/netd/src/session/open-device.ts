import type { SupportedLocator } from '../locator.ts'
import type { OpenedDevice } from './opened-device.ts'

/**
 * Opens the function a locator names; what opens it is loaded only then.
 * @throws QemuError, NetdError
 */
export async function openDevice(locator: SupportedLocator, signal: AbortSignal): Promise<OpenedDevice> {
  signal.throwIfAborted()
  if (locator.scheme === 'qemu') return (await import('./open-bench.ts')).openBench(locator)
  return (await import('./open-model.ts')).openModel(locator)
}
