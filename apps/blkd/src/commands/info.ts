import { type CommandIo, ExitCode, printJson, printLine } from '@virtio-ts/command-line'
import { formatLocator, type Locator } from '@virtio-ts/device-locator'
import type { BlockDriver } from '@virtio-ts/driver-block'
import { withDisk } from '../disk/open-disk.ts'
import { describeDisk, renderDisk } from '../info/disk-description.ts'

/** A device that does not say what it is called has no name. */
const patience = 5000

/** `blkd info`: with `--json` one object. */
export function info(
  { locator, json }: { readonly locator: Locator; readonly json: boolean },
  io: CommandIo,
): Promise<number> {
  return withDisk(locator, { readOnly: false, signal: io.signal }, async (driver) => {
    const description = describeDisk(formatLocator(locator), driver, await serialOf(driver, io.signal))
    if (json) await printJson(io, description)
    else await printLine(io, renderDisk(description))
    return ExitCode.OK
  })
}

/** Some devices have none, and say so by refusing. */
async function serialOf(driver: BlockDriver, signal: AbortSignal): Promise<string | undefined> {
  try {
    const serial = await driver.deviceId({ signal: AbortSignal.any([signal, AbortSignal.timeout(patience)]) })
    return serial === '' ? undefined : serial
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}
