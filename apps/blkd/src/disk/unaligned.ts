import type { BlockDriver } from '@virtio-ts/driver-block'

/** Bytes of a disk that can be reached: whole blocks. */
export function reachableSize({ capacity, blockSize }: BlockDriver): number {
  return capacity - (capacity % blockSize)
}

export function isAligned({ blockSize }: BlockDriver, offset: number, length: number): boolean {
  return offset % blockSize === 0 && length % blockSize === 0
}

/** Reads any bytes: whole blocks, of which the ends are dropped. */
export async function readBytes(driver: BlockDriver, offset: number, length: number): Promise<Uint8Array> {
  if (length === 0) return new Uint8Array(0)
  if (isAligned(driver, offset, length)) return driver.read(offset, length)
  const start = blockStart(driver, offset)
  const bytes = await driver.read(start, blockEnd(driver, offset + length) - start)
  return bytes.subarray(offset - start, offset - start + length)
}

/** Writes any bytes. Blocks that are written in part are read first: nobody else must write meanwhile. */
export async function writeBytes(driver: BlockDriver, offset: number, pieces: readonly Uint8Array[]): Promise<void> {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
  if (length === 0) return
  if (isAligned(driver, offset, length)) return driver.write(offset, pieces)
  const start = blockStart(driver, offset)
  const end = blockEnd(driver, offset + length)
  const before = await readBytes(driver, start, offset - start)
  const behind = await readBytes(driver, offset + length, end - offset - length)
  await driver.write(start, [before, ...pieces, behind])
}

export function blockStart({ blockSize }: BlockDriver, offset: number): number {
  return offset - (offset % blockSize)
}

export function blockEnd(driver: BlockDriver, offset: number): number {
  return blockStart(driver, offset + driver.blockSize - 1)
}
