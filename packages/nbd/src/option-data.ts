import { LONGEST_STRING } from './constants.ts'

/** What a client sends with INFO and GO. */
export interface InfoRequest {
  readonly name: string
  /** Kinds of information asked for. */
  readonly infos: readonly number[]
}

/** What a client sends with LIST_META_CONTEXT and SET_META_CONTEXT. */
export interface MetaContextRequest {
  readonly name: string
  readonly queries: readonly string[]
}

const decoder = new TextDecoder('utf-8', { fatal: true })

/** Reads an option's data front to back; everything is undefined once something does not fit. */
class Fields {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  number(width: 2 | 4): number | undefined {
    if (this.left < width) return undefined
    this.#at += width
    return this.#bytes.readUIntBE(this.#at - width, width)
  }

  string(): string | undefined {
    const length = this.number(4)
    if (length === undefined || length > this.left) return undefined
    this.#at += length
    return parseString(this.#bytes.subarray(this.#at - length, this.#at))
  }
}

/** @returns undefined for what is no string of the protocol: too long, not UTF-8, or with a NUL in it */
export function parseString(bytes: Uint8Array): string | undefined {
  if (bytes.length > LONGEST_STRING || bytes.includes(0)) return undefined
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** @returns undefined for malformed data */
export function parseInfoRequest(data: Buffer): InfoRequest | undefined {
  const fields = new Fields(data)
  const name = fields.string()
  const count = fields.number(2)
  if (name === undefined || count === undefined || fields.left !== 2 * count) return undefined
  return { name, infos: Array.from({ length: count }, () => fields.number(2) ?? 0) }
}

/** @returns undefined for malformed data */
export function parseMetaContextRequest(data: Buffer): MetaContextRequest | undefined {
  const fields = new Fields(data)
  const name = fields.string()
  const count = fields.number(4)
  if (name === undefined || count === undefined) return undefined
  const queries: string[] = []
  // Each takes its length at least: a count that cannot be ends with what there is.
  for (let i = 0; i < count; i++) {
    const query = fields.string()
    if (query === undefined || !query.includes(':')) return undefined
    queries.push(query)
  }
  return fields.left === 0 ? { name, queries } : undefined
}
