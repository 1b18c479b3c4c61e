import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

let counter = 0

/** A network namespace of a test's own, loopback up; everything in it ends with it. */
export class NetworkNamespace {
  readonly name: string
  /** For what its programs keep while they run. */
  readonly runtimeDirectory: string

  private constructor(name: string) {
    this.name = name
    this.runtimeDirectory = join(tmpdir(), `${name}.run`)
  }

  /** Needs root. */
  static create(): NetworkNamespace {
    const name = `vts-${process.pid}-${counter++}`
    execFileSync('ip', ['netns', 'add', name])
    const namespace = new NetworkNamespace(name)
    namespace.run('ip', 'link', 'set', 'lo', 'up')
    return namespace
  }

  /** Runs a command in the namespace and returns its stdout. @throws with its stderr when it fails or takes over 60 s */
  run(command: string, ...args: readonly string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.name, command, ...args], {
      encoding: 'utf8',
      timeout: 60_000,
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 1 << 26,
    })
  }

  /** The same without blocking this process: needed where this process is the peer, or several run at once. */
  runAsync(command: string, ...args: readonly string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = this.spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
      const out: Buffer[] = []
      const err: Buffer[] = []
      child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
      child.stderr?.on('data', (chunk: Buffer) => err.push(chunk))
      const limit = setTimeout(() => child.kill('SIGKILL'), 60_000)
      child.on('error', reject)
      child.on('close', (code, signal) => {
        clearTimeout(limit)
        if (code === 0) resolve(Buffer.concat(out).toString())
        else
          reject(
            new Error(
              `${command} ${args.join(' ')} ended with ${code ?? signal}: ${Buffer.concat(err)}${Buffer.concat(out)}`,
            ),
          )
      })
    })
  }

  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return spawn('ip', ['netns', 'exec', this.name, command, ...args], options)
  }

  /** Ends every process still in the namespace, by pid, and removes it. */
  close(): void {
    const pids = execFileSync('ip', ['netns', 'pids', this.name], { encoding: 'utf8' }).split('\n').filter(Boolean)
    for (const pid of pids) {
      try {
        process.kill(Number(pid), 'SIGKILL')
      } catch {
        // It ended by itself between the listing and here.
      }
    }
    execFileSync('ip', ['netns', 'delete', this.name])
    rmSync(this.runtimeDirectory, { recursive: true, force: true })
  }
}
