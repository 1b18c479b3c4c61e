import type { CommandIo, ProgramIo } from './command-io.ts'
import { CommandError } from './command-error.ts'
import type { CommandSpec } from './command-spec.ts'
import { errorReport } from './error-report.ts'
import { ExitCode } from './exit-code.ts'
import { exitCodeOf } from './exit-code-of.ts'
import { globalOptions, type ParsedArguments, parseArguments, unknownOption } from './parse-arguments.ts'
import { type Program, soleCommand } from './program.ts'
import { suggestion } from './suggestion.ts'

/** Options before a command's name, and where the name is (`args.length` when there is none). */
function leadingOptions(
  { name: program }: Program,
  args: readonly string[],
): { flags: Set<string>; rest: readonly string[] } {
  const flags = new Set<string>()
  let index = 0
  for (; index < args.length; index++) {
    const arg = args[index] ?? ''
    if (!arg.startsWith('-') || arg === '-') break
    const option = globalOptions.find(({ name, short }) => arg === `--${name}` || arg === `-${short}`)
    if (!option) throw unknownOption(program, '', arg, globalOptions)
    flags.add(option.name)
  }
  return { flags, rest: args.slice(index) }
}

function findCommand(program: Program, name: string): CommandSpec {
  const { commands } = program
  const command = commands.find((candidate) => candidate.name === name)
  if (command) return command
  const meant = suggestion(
    name,
    commands.map((candidate) => candidate.name),
  )
  throw new CommandError('usage.unknown-command', `unknown command ${JSON.stringify(name)}`, {
    why: meant
      ? `did you mean ${program.name} ${meant}?`
      : `commands are ${commands.map((candidate) => candidate.name).join(', ')}`,
    fix: `${program.name} --help`,
  })
}

async function execute(program: Program, args: readonly string[], io: CommandIo): Promise<number> {
  const sole = soleCommand(program)
  if (sole) return args.length === 0 ? help(program, sole, true, io) : executeCommand(program, sole, [], args, io)
  const { flags, rest } = leadingOptions(program, args)
  const [name, ...own] = rest
  if (flags.has('version')) return version(program, io)
  // `netd help run` is what `netd run --help` is.
  if (name === undefined || name === 'help') {
    const about = own[0] === undefined ? undefined : findCommand(program, own[0])
    return help(program, about, name === undefined && !flags.has('help'), io)
  }
  return executeCommand(program, findCommand(program, name), flags, own, io)
}

async function executeCommand(
  program: Program,
  command: CommandSpec,
  flags: Iterable<string>,
  args: readonly string[],
  io: CommandIo,
): Promise<number> {
  const before = new Set(flags)
  if (before.has('help')) return help(program, command, false, io)
  const parsed = parseArguments(program.name, command, args)
  const all: ParsedArguments = { ...parsed, flags: new Set([...before, ...parsed.flags]) }
  if (all.flags.has('help')) return help(program, command, false, io)
  if (all.flags.has('version')) return version(program, io)
  return command.execute(all, { ...io, color: io.color && !all.flags.has('no-color') })
}

function version(program: Program, io: CommandIo): number {
  io.stdout.write(`${program.name} ${program.version()}\n`)
  return ExitCode.OK
}

async function help(
  program: Program,
  command: CommandSpec | undefined,
  isMistake: boolean,
  io: CommandIo,
): Promise<number> {
  const { commandHelp, generalHelp } = await import('./help.ts')
  const text = command === undefined ? generalHelp(program) : commandHelp(program, command)
  // Asked for, help is data; shown because nothing was asked for, it is a message.
  ;(isMistake ? io.stderr : io.stdout).write(text)
  return isMistake ? ExitCode.USAGE : ExitCode.OK
}

/**
 * Runs one command line.
 * @param args what follows the program's name
 * @returns the exit code; errors have been reported on stderr
 */
export async function dispatch(program: Program, args: readonly string[], io: ProgramIo): Promise<number> {
  try {
    return await execute(program, args, { ...io, program: program.name })
  } catch (error) {
    // What was waiting when the user ended it says so by throwing the signal's reason or an AbortError.
    if (io.signal.aborted && (error === io.signal.reason || (error as Error | null)?.name === 'AbortError'))
      return ExitCode.OK
    io.stderr.write(errorReport(program, error))
    return exitCodeOf(error)
  }
}
