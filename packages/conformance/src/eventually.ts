import type { NetDriver } from '@virtio-ts/driver-net'

const DEADLINE = 10_000

/** Waits for what the device or the network do; drives the driver where nobody notifies it. */
export async function until(
  driver: NetDriver,
  polled: boolean,
  what: string,
  done: () => boolean | Promise<boolean>,
): Promise<void> {
  const end = Date.now() + DEADLINE
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`nothing more happened: ${what}; ${JSON.stringify(driver.stats())}`)
    if (polled) driver.poll()
    await turn()
  }
}

/** One turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
