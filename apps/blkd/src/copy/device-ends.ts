import { CommandError } from '@virtio-ts/command-line'
import type { BlockDriver } from '@virtio-ts/driver-block'
import { formatSize } from '../disk/size.ts'
import { blockStart, reachableSize, readBytes, writeBytes } from '../disk/unaligned.ts'
import type { CopySource, CopyTarget } from './copy-ends.ts'

const GRANULE = 64 * 1024

export function deviceSource(driver: BlockDriver): CopySource {
  return { size: reachableSize(driver), read: (offset, length) => readBytes(driver, offset, length) }
}

/**
 * @param size bytes that will come, from the beginning on: what is behind them stays
 * @throws CommandError `copy.read-only`, `copy.too-small`
 */
export function deviceTarget(driver: BlockDriver, name: string, size: number): CopyTarget {
  if (driver.readOnly) throw new CommandError('copy.read-only', `${name} is read-only`, { fix: 'another device' })
  if (size > reachableSize(driver)) {
    throw new CommandError('copy.too-small', `${name} has ${reachableSize(driver)} bytes, and ${size} would come`, {
      why: `${formatSize(size - reachableSize(driver))} are missing`,
      fix: 'a larger device',
    })
  }
  let changed = false
  const write = (offset: number, bytes: Uint8Array): Promise<void> => {
    changed = true
    return writeBytes(driver, offset, [bytes])
  }
  return {
    granule: Math.max(GRANULE, driver.blockSize),
    write,
    zero: async (offset, length) => {
      changed = true
      const whole = driver.features.has('WRITE_ZEROES') ? blockStart(driver, length) : 0
      if (whole > 0) await driver.writeZeroes(offset, whole, { unmap: driver.mayUnmap })
      // The end of a file that is no whole block, or everything, where the device knows no other way.
      for (let done = whole; done < length; done += GRANULE * 16)
        await write(offset + done, new Uint8Array(Math.min(length - done, GRANULE * 16)))
    },
    finish: () => driver.flush(),
    abandon: async () => (changed ? `${name} has been overwritten in part: what it held is gone` : undefined),
  }
}
