import { CommandError } from './command-error.ts'

/** The error for a value that an option cannot have. @param example what to do: a command line that works */
export function invalidValue(option: string, value: string, why: string, example?: string): CommandError {
  const shown = JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  return new CommandError('usage.invalid-value', `--${option} ${shown} cannot be used`, {
    why,
    ...(example === undefined ? {} : { fix: example }),
  })
}

/** @throws CommandError `usage.invalid-value` */
export function parseNumber(option: string, text: string, min: number, max: number): number {
  const number = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(number >= min && number <= max)) throw invalidValue(option, text, `it is a whole number from ${min} to ${max}`)
  return number
}
