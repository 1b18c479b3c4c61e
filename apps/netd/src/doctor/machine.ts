import { execFile } from 'node:child_process'
import { accessSync, closeSync, constants, existsSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { codeOf } from '@virtio-ts/command-line'

/** What a program said, or that it could not be started. */
export interface ProgramResult {
  /** Exit code; undefined when the program was not found or did not end in time. */
  readonly exitCode: number | undefined
  /** stdout, then stderr. */
  readonly output: string
}

/** What the doctor's checks ask; the real one looks at this machine, tests bring their own. */
export interface Machine {
  readonly platform: string
  readonly arch: string
  /** `20.20.2` */
  readonly nodeVersion: string
  readonly uid: number
  readonly env: Readonly<Record<string, string | undefined>>
  /** Loads the native layer and makes a system call through it. @throws what stands in the way */
  tryNative(): Promise<void>
  /** Opens for reading and writing and closes again. @returns the error's name, e.g. `EACCES`, or undefined when it worked */
  tryOpen(path: string): string | undefined
  /** Whether it may be written, without trying. @returns the error's name, e.g. `EROFS`, or undefined when it may */
  tryWritable(path: string): string | undefined
  exists(path: string): boolean
  readText(path: string): string | undefined
  listNames(path: string): readonly string[]
  run(program: string, args: readonly string[]): Promise<ProgramResult>
}

const programLimit = 10_000

/** The machine this process runs on. */
export const thisMachine: Machine = {
  platform: process.platform,
  arch: process.arch,
  nodeVersion: process.versions.node,
  uid: process.getuid?.() ?? -1,
  env: process.env,
  async tryNative() {
    const { close, eventfd } = await import('@virtio-ts/native')
    close(eventfd())
  },
  tryOpen(path) {
    try {
      closeSync(openSync(path, 'r+'))
      return undefined
    } catch (error) {
      return codeOf(error) ?? 'unknown error'
    }
  },
  tryWritable(path) {
    try {
      accessSync(path, constants.W_OK)
      return undefined
    } catch (error) {
      return codeOf(error) ?? 'unknown error'
    }
  },
  exists: existsSync,
  readText(path) {
    try {
      return readFileSync(path, 'utf8').trimEnd()
    } catch {
      return undefined
    }
  },
  listNames(path) {
    try {
      return readdirSync(path)
    } catch {
      return []
    }
  },
  run(program, args) {
    return new Promise((resolve) => {
      execFile(program, [...args], { timeout: programLimit, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
        const exitCode = error ? (typeof error.code === 'number' ? error.code : undefined) : 0
        resolve({ exitCode, output: `${stdout}${stderr}`.trim() })
      })
    })
  },
}
