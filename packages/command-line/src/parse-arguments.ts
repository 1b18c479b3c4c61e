import { parseArgs } from 'node:util'
import type { CommandSpec, OptionSpec } from './command-spec.ts'
import { CommandError } from './command-error.ts'
import { commandLine } from './program.ts'
import { suggestion } from './suggestion.ts'

/** A command line that names only options the command has, each at most once, with a value exactly where it takes one. */
export interface ParsedArguments {
  readonly flags: ReadonlySet<string>
  readonly values: ReadonlyMap<string, string>
  readonly positionals: readonly string[]
}

/** Options that every command has, before or behind its name. */
export const globalOptions: readonly OptionSpec[] = [
  { name: 'json', description: 'print JSON' },
  { name: 'no-color', description: 'no colours (also: NO_COLOR=1)' },
  { name: 'help', short: 'h', description: 'show this help' },
  { name: 'version', short: 'V', description: 'print the version' },
]

function usage(subject: string, code: string, message: string, why?: string): CommandError {
  const help = `${subject} --help`
  return new CommandError(`usage.${code}`, message, { ...(why === undefined ? {} : { why }), fix: help })
}

/** The error for an option nobody has; names the one that was probably meant. */
export function unknownOption(
  program: string,
  command: string,
  rawName: string,
  options: readonly OptionSpec[],
): CommandError {
  const meant = suggestion(
    rawName.replace(/^-+/, ''),
    options.map((option) => option.name),
  )
  const subject = commandLine(program, command)
  const where = command === '' ? '' : ` for ${subject}`
  return usage(subject, 'unknown-option', `unknown option ${rawName}${where}`, meant && `did you mean --${meant}?`)
}

/**
 * Parses what follows a command's name. Not strict in node:util's sense, whose messages name neither the command nor
 * what was meant; and `--features -CSUM` must keep its value, which strict mode refuses.
 * @throws CommandError `usage.*`
 */
export function parseArguments(program: string, command: CommandSpec, args: readonly string[]): ParsedArguments {
  const subject = commandLine(program, command.name)
  const options = [...command.options, ...globalOptions]
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: Object.fromEntries(
      options.map(({ name, short, value }) => [
        name,
        { type: value === undefined ? 'boolean' : 'string', ...(short === undefined ? {} : { short }) } as const,
      ]),
    ),
  })
  const flags = new Set<string>()
  const values = new Map<string, string>()
  const positionals: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value)
    if (token.kind !== 'option') continue
    const option = options.find(({ name }) => name === token.name)
    if (!option) throw unknownOption(program, command.name, token.rawName, options)
    if (option.value === undefined) {
      if (token.value !== undefined) throw usage(subject, 'unexpected-value', `${token.rawName} takes no value`)
      flags.add(option.name)
      continue
    }
    const next = options.find(
      ({ name, short }) => token.value === `--${name}` || (short && token.value === `-${short}`),
    )
    if (token.value === undefined || token.value === '' || (!token.inlineValue && next)) {
      throw usage(subject, 'missing-value', `${token.rawName} needs a value: ${token.rawName} ${option.value}`)
    }
    if (values.has(option.name)) throw usage(subject, 'repeated-option', `--${option.name} is given twice`)
    values.set(option.name, token.value)
  }
  if (!flags.has('help') && !flags.has('version')) checkPositionals(subject, command, positionals)
  return { flags, values, positionals }
}

function checkPositionals(subject: string, command: CommandSpec, positionals: readonly string[]): void {
  const missing = command.positionals.find(({ required }, index) => required && positionals[index] === undefined)
  if (missing) throw usage(subject, 'missing-argument', `${subject} needs ${missing.name}`)
  const extra = positionals[command.positionals.length]
  if (extra === undefined) return
  const why = command.positionals.length === 0 ? `${subject} takes no arguments` : undefined
  throw usage(subject, 'extra-argument', `unexpected argument ${JSON.stringify(extra)}`, why)
}
