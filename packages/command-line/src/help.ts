import type { CommandSpec, OptionSpec } from './command-spec.ts'
import { globalOptions } from './parse-arguments.ts'
import { commandLine, type Program } from './program.ts'

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`.trimEnd())
}

function optionRow({ name, short, value, description }: OptionSpec): readonly [string, string] {
  return [
    `${short === undefined ? '    ' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`,
    description,
  ]
}

function usageOf(program: Program, command: CommandSpec): string {
  const positionals = command.positionals.map(({ name, required }) => (required ? name : `[${name}]`))
  return [
    commandLine(program.name, command.name),
    ...positionals,
    ...(command.options.length > 0 ? ['[OPTIONS]'] : []),
  ].join(' ')
}

/** What `--help` without a command prints. */
export function generalHelp(program: Program): string {
  const { name, summary, commands, examples } = program
  return [
    `${name} - ${summary}`,
    '',
    `Usage: ${name} COMMAND [OPTIONS]`,
    '',
    'Examples:',
    ...columns(examples),
    '',
    'Commands:',
    ...columns(
      commands.map((command) => [
        [command.name, ...command.positionals.map(({ name, required }) => (required ? name : `[${name}]`))].join(' '),
        command.summary,
      ]),
    ),
    '',
    'Options:',
    ...columns(globalOptions.map(optionRow)),
    '',
    `${name} COMMAND --help shows the options of a command.`,
    '',
  ].join('\n')
}

/** What `--help` prints of one command. */
export function commandHelp(program: Program, command: CommandSpec): string {
  return [
    `${commandLine(program.name, command.name)} - ${command.summary}`,
    '',
    `Usage: ${usageOf(program, command)}`,
    '',
    'Examples:',
    ...columns(command.examples),
    '',
    'Options:',
    ...columns([...command.options, ...globalOptions].map(optionRow)),
    ...(command.notes ?? []).flatMap((note) => ['', note]),
    '',
  ].join('\n')
}
