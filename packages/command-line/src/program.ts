import type { CommandSpec } from './command-spec.ts'
import type { ExitCode } from './exit-code.ts'

/** A program as data: its name, what it says of itself, and its commands. */
export interface Program {
  /** As it is typed: `netd`. */
  readonly name: string
  /** What it is, behind its name in the first line of its help. */
  readonly summary: string
  /**
   * What it can do. Only what works: a command that is not there yet is not in the help either. A single command with an empty name is
   * the whole program: `balloond LOCATOR`.
   */
  readonly commands: readonly CommandSpec[]
  /** Command lines of its general help, each with what it does. */
  readonly examples: readonly (readonly [command: string, what: string])[]
  /** Asked only when `--version` is. */
  readonly version: () => string
  /**
   * What its user can do about errors of other layers, which know what happened but not who asked, by exit code.
   */
  readonly remedies?: Partial<Record<ExitCode, string>>
}

/** The one command of a program that has no names for commands. */
export function soleCommand({ commands }: Program): CommandSpec | undefined {
  return commands.length === 1 && commands[0]?.name === '' ? commands[0] : undefined
}

/** `netd run`, or `balloond` where that is the whole program. */
export function commandLine(program: string, command: string): string {
  return command === '' ? program : `${program} ${command}`
}
