import type { ProgramIo } from './command-io.ts'
import { dispatch } from './dispatch.ts'
import { errorReport } from './error-report.ts'
import { ExitCode } from './exit-code.ts'
import type { Program } from './program.ts'

/** How long a process may linger after its command has ended, in milliseconds. */
const lingerLimit = 3000

const signals = { SIGINT: ExitCode.SIGINT, SIGTERM: ExitCode.SIGTERM, SIGHUP: ExitCode.SIGTERM } as const

function wantsColor(): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env
  if (NO_COLOR !== undefined && NO_COLOR !== '') return false
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== '') return FORCE_COLOR !== '0'
  return process.stdout.isTTY === true && TERM !== 'dumb'
}

/** The first signal asks the command to stop; the second one ends the process where it stands (`exit` listeners still run). */
function watchSignals(controller: AbortController): () => void {
  let seen = 0
  const stops = Object.entries(signals).map(([name, exitCode]) => {
    const listener = () => {
      seen += 1
      if (seen > 1) process.exit(exitCode)
      controller.abort(name)
    }
    process.on(name, listener)
    return () => process.off(name, listener)
  })
  return () => {
    for (const stop of stops) stop()
  }
}

/** Aborts when stdout breaks. A reader that went away is a quiet end; a full disk is an error. */
function watchOutput(name: string, controller: AbortController): () => boolean {
  let failed = false
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && !failed) {
      failed = true
      // The command may have ended before its output did.
      process.exitCode = ExitCode.ERROR
      process.stderr.write(`${name}: cannot write to stdout\n  ${error.message}\n`)
    }
    controller.abort('EPIPE')
  })
  process.stderr.on('error', () => {})
  return () => failed
}

/** Whatever still holds the event loop after a command has ended must not keep the shell waiting. */
function guardAgainstLingering(name: string): void {
  const timer = setInterval(() => {
    if (process.stdout.writableLength > 0 && !process.stdout.destroyed) return
    process.stderr.write(`${name}: something kept the process alive after its command had ended: ended it\n`)
    process.exit()
  }, lingerLimit)
  timer.unref()
}

/** Makes this process the program: reads process.argv, answers signals, sets process.exitCode. */
export function runProgram(program: Program): void {
  const controller = new AbortController()
  const stopWatchingSignals = watchSignals(controller)
  const outputFailed = watchOutput(program.name, controller)
  const io: ProgramIo = {
    stdout: process.stdout,
    stderr: process.stderr,
    signal: controller.signal,
    color: wantsColor(),
  }
  process.on('uncaughtException', (error) => {
    process.stderr.write(errorReport(program, error))
    process.exit(ExitCode.ERROR)
  })
  void dispatch(program, process.argv.slice(2), io).then((exitCode) => {
    process.exitCode = outputFailed() ? ExitCode.ERROR : exitCode
    stopWatchingSignals()
    guardAgainstLingering(program.name)
  })
}
