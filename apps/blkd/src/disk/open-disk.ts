import type { Locator } from '@virtio-ts/device-locator'
import { openDevice } from '@virtio-ts/device-locator'
import { BlockDriver, type BlockOptions } from '@virtio-ts/driver-block'
import { blockDevice } from './block-device.ts'

/** Runs `use` with a driver for the device, and lets everything go after it. @param readOnly nothing will be written */
export async function withDisk<T>(
  locator: Locator,
  { readOnly, signal, ...options }: BlockOptions & { readonly readOnly: boolean; readonly signal: AbortSignal },
  use: (driver: BlockDriver) => Promise<T>,
): Promise<T> {
  const device = await openDevice(blockDevice({ readOnly }), locator, signal)
  try {
    const driver = await BlockDriver.open(await device.attach({ wait: false, signal }), options)
    try {
      return await use(driver)
    } finally {
      await driver.close()
    }
  } finally {
    await device.release()
  }
}
