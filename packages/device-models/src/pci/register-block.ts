export type Width = 1 | 2 | 4

/** Registers within a BAR. Offsets are within the block; values are unsigned. */
export interface RegisterBlock {
  /** Bytes. */
  readonly length: number
  read(offset: number, width: Width): number
  write(offset: number, width: Width, value: number): void
}

export function allOnes(width: Width): number {
  return width === 4 ? 0xffffffff : 2 ** (8 * width) - 1
}
