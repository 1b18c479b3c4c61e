/** What a client is told of an export when it connects. Offsets and lengths are bytes everywhere. */
export interface NbdExportInfo {
  /** Of the disk. A client never hears of another one. */
  readonly size: number
  /** Every change is refused before the session hears of it. */
  readonly readOnly: boolean
  /** What requests are best multiples of: a power of 2, from 512 on. Requests of any other length and offset come all the same. */
  readonly preferredBlockSize: number
  /** Whether `trim` is offered. */
  readonly trim: boolean
  /** Whether `writeZeroes` is offered. */
  readonly writeZeroes: boolean
  /** Whether a flush by one client makes safe what another one has been told is written. */
  readonly multiConn: boolean
}

export interface NbdZeroOptions {
  /** The range is to keep its storage. */
  readonly noHole: boolean
  /** To be refused with `ENOTSUP`, before anything was changed, where it would be no faster than to write the zeroes. */
  readonly fast: boolean
}

/**
 * The disk as one client sees it. Requests come at any time, many at once, any alignment, within the `size` that the client was told. What they reject with
 * goes to the client: an `NbdError` as it is, anything else as `EIO`.
 */
export interface NbdSession {
  readonly info: NbdExportInfo
  /** @returns the client's alone: nobody changes it any more */
  read(offset: number, length: number): Promise<Uint8Array>
  /** @param pieces one after the other; the session's until the promise settles */
  write(offset: number, pieces: readonly Uint8Array[], fua: boolean): Promise<void>
  flush(): Promise<void>
  trim(offset: number, length: number, fua: boolean): Promise<void>
  writeZeroes(offset: number, length: number, options: NbdZeroOptions, fua: boolean): Promise<void>
}

/** What a server serves under one name. */
export interface NbdExport {
  readonly name: string
  /** For people, who may see it in `nbdinfo`. */
  readonly description?: string
  /** Called when a client asks for the export. @throws Error with a message for the client when it cannot be had now */
  connect(): NbdSession
}
