import { type Locator, type OpenedDevice, openDevice } from '@virtio-ts/device-locator'
import { ConsoleDriver } from '@virtio-ts/driver-console'
import { consoleDevice } from './console-device.ts'

/** A device, its driver, and what ends both. */
export interface ConsoleSession {
  readonly driver: ConsoleDriver
  /** Rejects with what made the device useless; never settles otherwise. */
  readonly failed: Promise<never>
  /** Resets the device and lets go of what carries it. Idempotent. */
  close(): Promise<void>
}

/** Opens the device a locator names. @throws CommandError `locator.*`; what opens it */
export async function openConsole(locator: Locator, signal: AbortSignal): Promise<ConsoleSession> {
  return openSession(await openDevice(consoleDevice, locator, signal), signal)
}

/** The same with a device that is open, and from now on the session's. */
export async function openSession(device: OpenedDevice, signal: AbortSignal): Promise<ConsoleSession> {
  try {
    const driver = await ConsoleDriver.open(await device.attach({ wait: false, signal }))
    const failed = new Promise<never>((_, reject) => driver.on('fault', reject))
    // It may be that nobody waits for it.
    failed.catch(() => {})
    let closing: Promise<void> | undefined
    return { driver, failed, close: () => (closing ??= closeAll(driver, device)) }
  } catch (error) {
    await device.release().catch(() => {})
    throw error
  }
}

async function closeAll(driver: ConsoleDriver, device: OpenedDevice): Promise<void> {
  try {
    await driver.close()
  } finally {
    await device.release()
  }
}
