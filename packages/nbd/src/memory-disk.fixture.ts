import { NbdError, type NbdErrnoName } from './nbd-error.ts'
import type { NbdExport, NbdExportInfo, NbdSession, NbdZeroOptions } from './nbd-export.ts'

/** A disk of the test's own: keeps bytes, remembers what it was asked, holds or fails requests when told. */
export class MemoryDisk implements NbdExport, NbdSession {
  readonly name: string
  readonly description: string = 'a disk in memory'
  readonly bytes: Buffer
  readonly asked: string[] = []
  info: NbdExportInfo
  /** What the next requests fail with. */
  failure: NbdErrnoName | Error | undefined
  /** What is thrown at whoever connects. */
  refusal: Error | undefined
  #held: (() => void)[] | undefined

  constructor(size: number, info: Partial<NbdExportInfo> = {}, name = 'disk') {
    this.name = name
    this.bytes = Buffer.alloc(size)
    this.info = {
      size,
      readOnly: false,
      preferredBlockSize: 4096,
      trim: true,
      writeZeroes: true,
      multiConn: true,
      ...info,
    }
  }

  connect(): NbdSession {
    if (this.refusal) throw this.refusal
    return this
  }

  /** Requests wait from now on. */
  hold(): void {
    this.#held = []
  }

  get held(): number {
    return this.#held?.length ?? 0
  }

  /** Those that wait go on, and no more wait. */
  letGo(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const resume of held) resume()
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    await this.#begin(`read ${offset} ${length}`)
    return Uint8Array.from(this.bytes.subarray(offset, offset + length))
  }

  async write(offset: number, pieces: readonly Uint8Array[], fua: boolean): Promise<void> {
    const bytes = Buffer.concat(pieces)
    await this.#begin(`write ${offset} ${bytes.length}${fua ? ' fua' : ''}`)
    this.bytes.set(bytes, offset)
  }

  async flush(): Promise<void> {
    await this.#begin('flush')
  }

  async trim(offset: number, length: number, fua: boolean): Promise<void> {
    await this.#begin(`trim ${offset} ${length}${fua ? ' fua' : ''}`)
  }

  async writeZeroes(offset: number, length: number, { noHole, fast }: NbdZeroOptions, fua: boolean): Promise<void> {
    const how = [noHole && ' no-hole', fast && ' fast', fua && ' fua'].filter(Boolean).join('')
    await this.#begin(`zero ${offset} ${length}${how}`)
    this.bytes.fill(0, offset, offset + length)
  }

  async #begin(what: string): Promise<void> {
    this.asked.push(what)
    const held = this.#held
    if (held) await new Promise<void>((resolve) => held.push(resolve))
    if (typeof this.failure === 'string') throw new NbdError(this.failure, 'as the test wants it')
    if (this.failure) throw this.failure
  }
}
