/** Why something that was read is not what it should be. */
export class FieldError extends Error {}

/** An object without the fields that are undefined. */
export function present<T extends object>(object: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T
}

/** The fields of an object that came from outside, each read as what it has to be. Whatever is not that is a `FieldError`. */
export class PlainFields {
  readonly #object: Readonly<Record<string, unknown>>
  readonly #where: string
  readonly #read = new Set<string>()

  /** @param where what the object is, for messages */
  constructor(value: unknown, where: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new FieldError(`${where} is not an object`)
    this.#object = value as Readonly<Record<string, unknown>>
    this.#where = where
  }

  has(name: string): boolean {
    return this.#object[name] !== undefined
  }

  /** Undefined where the field is missing. */
  optionalText(name: string, pattern: RegExp): string | undefined {
    const value = this.#take(name)
    if (value === undefined) return undefined
    if (typeof value === 'string' && value.length <= 256 && pattern.test(value)) return value
    throw this.wrong(name)
  }

  text(name: string, pattern: RegExp): string {
    return this.optionalText(name, pattern) ?? this.#missing(name)
  }

  /** A text, or null. */
  textOrNull(name: string, pattern: RegExp): string | null {
    return this.#object[name] === null ? this.#null(name) : this.text(name, pattern)
  }

  optionalInteger(name: string, min: number, max: number): number | undefined {
    const value = this.#take(name)
    if (value === undefined) return undefined
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
    throw this.wrong(name)
  }

  integer(name: string, min: number, max: number): number {
    return this.optionalInteger(name, min, max) ?? this.#missing(name)
  }

  /** False where the field is missing. */
  flag(name: string): boolean {
    const value = this.#take(name) ?? false
    if (typeof value === 'boolean') return value
    throw this.wrong(name)
  }

  list<T>(name: string, read: (value: unknown, where: string) => T): readonly T[] {
    const value = this.#take(name) ?? this.#missing(name)
    if (!Array.isArray(value) || value.length > 4096) throw this.wrong(name)
    return value.map((each, index) => read(each, `${this.#where}.${name}[${index}]`))
  }

  /** @throws FieldError when there are fields that nobody has read */
  finish(): void {
    const unknown = Object.keys(this.#object).find((name) => !this.#read.has(name))
    if (unknown !== undefined)
      throw new FieldError(`${this.#where} has a field ${JSON.stringify(unknown.slice(0, 40))}`)
  }

  wrong(name: string): FieldError {
    const shown = JSON.stringify(this.#object[name]) ?? 'undefined'
    return new FieldError(`${this.#where}.${name} cannot be ${shown.slice(0, 80)}`)
  }

  #take(name: string): unknown {
    this.#read.add(name)
    return Object.hasOwn(this.#object, name) ? this.#object[name] : undefined
  }

  #null(name: string): null {
    this.#read.add(name)
    return null
  }

  #missing(name: string): never {
    throw new FieldError(`${this.#where}.${name} is missing`)
  }
}
