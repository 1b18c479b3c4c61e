import type { CommandIo } from './command-io.ts'
import type { CommandSpec } from './command-spec.ts'
import { commands } from './commands.ts'
import { errorReport } from './error-report.ts'
import { ExitCode } from './exit-code.ts'
import { exitCodeOf } from './exit-code-of.ts'
import { NetdError } from './netd-error.ts'
import { globalOptions, type ParsedArguments, parseArguments, unknownOption } from './parse-arguments.ts'
import { suggestion } from './suggestion.ts'

/** Options before a command's name, and where the name is (`args.length` when there is none). */
function leadingOptions(args: readonly string[]): { flags: Set<string>; rest: readonly string[] } {
  const flags = new Set<string>()
  let index = 0
  for (; index < args.length; index++) {
    const arg = args[index] ?? ''
    if (!arg.startsWith('-') || arg === '-') break
    const option = globalOptions.find(({ name, short }) => arg === `--${name}` || arg === `-${short}`)
    if (!option) throw unknownOption('', arg, globalOptions)
    flags.add(option.name)
  }
  return { flags, rest: args.slice(index) }
}

function findCommand(name: string): CommandSpec {
  const command = commands.find((candidate) => candidate.name === name)
  if (command) return command
  const meant = suggestion(
    name,
    commands.map((candidate) => candidate.name),
  )
  throw new NetdError('usage.unknown-command', `unknown command ${JSON.stringify(name)}`, {
    why: meant
      ? `did you mean netd ${meant}?`
      : `commands are ${commands.map((candidate) => candidate.name).join(', ')}`,
    fix: 'netd --help',
  })
}

async function execute(args: readonly string[], io: CommandIo): Promise<number> {
  const { flags, rest } = leadingOptions(args)
  const [name, ...own] = rest
  if (flags.has('version')) return version(io)
  // `netd help run` is what `netd run --help` is.
  if (name === undefined || name === 'help') return help(own[0], name === undefined && !flags.has('help'), io)
  const command = findCommand(name)
  if (flags.has('help')) return help(name, false, io)
  const parsed = parseArguments(command, own)
  const all: ParsedArguments = { ...parsed, flags: new Set([...flags, ...parsed.flags]) }
  if (all.flags.has('help')) return help(name, false, io)
  if (all.flags.has('version')) return version(io)
  return command.execute(all, { ...io, color: io.color && !all.flags.has('no-color') })
}

async function version(io: CommandIo): Promise<number> {
  const { netdVersion } = await import('./version.ts')
  io.stdout.write(`netd ${netdVersion()}\n`)
  return ExitCode.OK
}

async function help(name: string | undefined, isMistake: boolean, io: CommandIo): Promise<number> {
  const { commandHelp, generalHelp } = await import('./help.ts')
  const text = name === undefined ? generalHelp() : commandHelp(findCommand(name))
  // Asked for, help is data; shown because nothing was asked for, it is a message.
  ;(isMistake ? io.stderr : io.stdout).write(text)
  return isMistake ? ExitCode.USAGE : ExitCode.OK
}

/**
 * Runs one command line.
 * @param args what follows the program's name
 * @returns the exit code; errors have been reported on stderr
 */
export async function dispatch(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    return await execute(args, io)
  } catch (error) {
    // What was waiting when the user ended it says so by throwing the signal's reason or an AbortError.
    if (io.signal.aborted && (error === io.signal.reason || (error as Error | null)?.name === 'AbortError'))
      return ExitCode.OK
    io.stderr.write(errorReport(error))
    return exitCodeOf(error)
  }
}
