import type { CommandSpec, OptionSpec } from './command-spec.ts'
import { commands } from './commands.ts'
import { globalOptions } from './parse-arguments.ts'

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

function usageOf(command: CommandSpec): string {
  const positionals = command.positionals.map(({ name, required }) => (required ? name : `[${name}]`))
  return ['netd', command.name, ...positionals, ...(command.options.length > 0 ? ['[OPTIONS]'] : [])].join(' ')
}

/** `netd --help`. */
export function generalHelp(): string {
  return [
    'netd - a virtio network device, driven from user space, as a TAP interface of this machine',
    '',
    'Usage: netd COMMAND [OPTIONS]',
    '',
    'Examples:',
    ...columns([
      ['netd demo', 'the whole stack in this process: no root, no QEMU'],
      ['netd doctor', 'what this machine has and lacks, with the command that mends it'],
      ['sudo netd run qemu:virtio-net-pci --tap vt0', 'a virtio device of a QEMU bench as interface vt0'],
      ['netd capture vt0 -w - | tcpdump -nr -', 'what goes through it, as it happens'],
    ]),
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
    'netd COMMAND --help shows the options of a command.',
    '',
  ].join('\n')
}

/** `netd COMMAND --help`. */
export function commandHelp(command: CommandSpec): string {
  return [
    `netd ${command.name} - ${command.summary}`,
    '',
    `Usage: ${usageOf(command)}`,
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
