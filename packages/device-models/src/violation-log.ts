import type { SpecClause, Violation } from './rules.ts'

const LIMIT = 256

/** What a driver did wrong, each thing once, the first 256 of them. */
export class ViolationLog {
  readonly #list: Violation[] = []
  readonly #known = new Set<string>()

  get list(): readonly Violation[] {
    return this.#list
  }

  record({ section, title }: SpecClause, text: string): void {
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
