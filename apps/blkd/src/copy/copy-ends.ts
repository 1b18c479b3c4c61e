/** Where a copy reads. */
export interface CopySource {
  /** Bytes. */
  readonly size: number
  read(offset: number, length: number): Promise<Uint8Array>
}

/** Where a copy goes. Ranges come in any order, some at a time, each once. */
export interface CopyTarget {
  /** What stretches of zeroes are looked for in: bytes, a power of 2. */
  readonly granule: number
  write(offset: number, bytes: Uint8Array): Promise<void>
  /** Makes a range read as zeroes, without storage where that can be. */
  zero(offset: number, length: number): Promise<void>
  /** Everything is there: makes it safe. */
  finish(): Promise<void>
  /** Something is missing. @returns what is left of it, for the user, or undefined where nothing is */
  abandon(): Promise<string | undefined>
}
