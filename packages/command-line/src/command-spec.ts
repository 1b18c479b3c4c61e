import type { CommandIo } from './command-io.ts'
import type { ParsedArguments } from './parse-arguments.ts'

export interface OptionSpec {
  /** Without the dashes. */
  readonly name: string
  readonly short?: string
  /** Name of the value in help; an option without one is a flag. */
  readonly value?: string
  readonly description: string
}

interface PositionalSpec {
  readonly name: string
  readonly required: boolean
}

/** One command as data; its code is loaded only when it runs. */
export interface CommandSpec {
  readonly name: string
  readonly summary: string
  readonly positionals: readonly PositionalSpec[]
  readonly options: readonly OptionSpec[]
  /** Command lines that work, each with what it does. */
  readonly examples: readonly (readonly [command: string, what: string])[]
  /** Further paragraphs of the command's help. */
  readonly notes?: readonly string[]
  readonly execute: (parsed: ParsedArguments, io: CommandIo) => Promise<number>
}
