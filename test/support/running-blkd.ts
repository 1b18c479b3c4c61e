import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const blkdProgram: string = fileURLToPath(new URL('../../apps/blkd/bin/blkd.js', import.meta.url))

export interface BlkdEvent {
  readonly event: string
  readonly [key: string]: unknown
}

export interface Ended {
  readonly code: number | null
  readonly signal: string | null
}

/** Runs a command of blkd to its end. */
export function blkd(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [blkdProgram, ...args], {
    encoding: 'utf8',
    timeout: 60_000,
  })
  return { code: status, stdout, stderr }
}

/** A `blkd ... --json` that goes on by itself: its events, its end. */
export class RunningBlkd implements AsyncDisposable {
  readonly child: ChildProcess
  readonly events: BlkdEvent[] = []
  readonly ended: Promise<Ended>
  stderr = ''
  #wakeUp: () => void = () => {}

  constructor(args: readonly string[]) {
    const command = ['KILL', process.execPath, blkdProgram, ...args, '--json']
    this.child = spawn('setpriv', ['--pdeathsig', ...command], { stdio: ['ignore', 'pipe', 'pipe'] })
    if (!this.child.stdout || !this.child.stderr) throw new Error('no pipes')
    createInterface(this.child.stdout).on('line', (line) => {
      this.events.push(JSON.parse(line) as BlkdEvent)
      this.#wakeUp()
    })
    this.child.stderr.on('data', (chunk: Buffer) => {
      this.stderr += chunk
    })
    this.ended = new Promise((resolve) =>
      this.child.on('close', (code, signal) => {
        resolve({ code, signal })
        this.#wakeUp()
      }),
    )
  }

  /** `blkd serve`, ready. */
  static async serve(locator: string, socket: string, ...options: string[]): Promise<RunningBlkd> {
    const running = new RunningBlkd(['serve', locator, '--nbd', `unix:${socket}`, ...options])
    await running.event('ready')
    return running
  }

  /** `setpriv` replaces itself by the command: this is blkd's own pid. */
  get pid(): number {
    return this.child.pid as number
  }

  /** What clients connect to. */
  get uri(): string {
    return String(this.events[0]?.['uri'])
  }

  /** Waits for the `count`-th event of this name. @throws with everything blkd said when it ended first, or after 20 s */
  async event(name: string, count = 1): Promise<BlkdEvent> {
    const deadline = AbortSignal.timeout(20_000)
    for (;;) {
      const found = this.events.filter(({ event }) => event === name)[count - 1]
      if (found) return found
      if (deadline.aborted || this.child.exitCode !== null || this.child.signalCode !== null) {
        const how = deadline.aborted ? 'did not say' : 'ended without'
        throw new Error(`blkd ${how} ${name}: ${JSON.stringify(this.events)} ${this.stderr}`)
      }
      await new Promise<void>((resolve) => {
        this.#wakeUp = resolve
        setTimeout(resolve, 200)
      })
    }
  }

  /** Sends SIGTERM and waits. @returns the exit code */
  async stop(): Promise<number | null> {
    this.child.kill('SIGTERM')
    return (await this.ended).code
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL')
    await this.ended
  }
}
