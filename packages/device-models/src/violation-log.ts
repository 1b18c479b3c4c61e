import type { SpecClause, Violation } from './rules.ts'

const LIMIT = 256

/** What a driver did wrong, each thing once, the first 256 of them. */
export class ViolationLog {
  readonly #list: Violation[] = []
  readonly #known = new Set<string>()
  #count = 0

  get list(): readonly Violation[] {
    return this.#list
  }

  /** How often anything was recorded, known or not. */
  get count(): number {
    return this.#count
  }

  record({ section, title }: SpecClause, text: string): void {
    this.#count++
    const key = `${section} ${text}`
    if (this.#list.length >= LIMIT || this.#known.has(key)) return
    this.#known.add(key)
    this.#list.push({ section, title, text })
  }

  clear(): void {
    this.#list.length = 0
    this.#known.clear()
  }
}
