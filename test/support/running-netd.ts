import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { createInterface } from 'node:readline'
import type { NetworkNamespace } from './network-namespace.ts'

const program = fileURLToPath(new URL('../../apps/netd/bin/netd.js', import.meta.url))

export interface NetdEvent {
  readonly event: string
  readonly [key: string]: unknown
}

/** A `netd run --json` in a namespace, or a `netd bridge --json`: its events, its end. */
export class RunningNetd {
  readonly #child: ChildProcess
  readonly events: NetdEvent[] = []
  readonly ended: Promise<{ code: number | null; signal: string | null }>
  #stderr = ''
  #wakeUp: () => void = () => {}

  constructor(namespace: NetworkNamespace, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#child = namespace.spawn(
      process.execPath,
      [program, ...(args[0] === 'bridge' ? [] : ['run']), ...args, '--json'],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        // A folder of its own: the control socket is named after the TAP, and every test calls its TAP t0.
        env: { ...process.env, NETD_RUNTIME_DIR: namespace.runtimeDirectory, ...env },
      },
    )
    if (!this.#child.stdout || !this.#child.stderr) throw new Error('no pipes')
    createInterface(this.#child.stdout).on('line', (line) => {
      this.events.push(JSON.parse(line) as NetdEvent)
      this.#wakeUp()
    })
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#stderr += chunk
    })
    this.ended = new Promise((resolve) =>
      this.#child.on('close', (code, signal) => {
        resolve({ code, signal })
        this.#wakeUp()
      }),
    )
  }

  static async start(namespace: NetworkNamespace, args: readonly string[]): Promise<RunningNetd> {
    const netd = new RunningNetd(namespace, args)
    await netd.event('ready')
    return netd
  }

  /** `ip netns exec` replaces itself by the command: this is netd's own pid. */
  get pid(): number {
    return this.#child.pid as number
  }

  get stderr(): string {
    return this.#stderr
  }

  /** Waits for the `count`-th event of this name. @throws with everything netd said when it ended first, or after 20 s */
  async event(name: string, count = 1): Promise<NetdEvent> {
    const deadline = AbortSignal.timeout(20_000)
    for (;;) {
      const found = this.events.filter(({ event }) => event === name)[count - 1]
      if (found) return found
      if (deadline.aborted || this.#child.exitCode !== null || this.#child.signalCode !== null) {
        throw new Error(
          `netd ${deadline.aborted ? 'did not say' : 'ended without'} ${name}: ${JSON.stringify(this.events)} ${this.#stderr}`,
        )
      }
      await new Promise<void>((resolve) => {
        this.#wakeUp = resolve
        setTimeout(resolve, 200)
      })
    }
  }

  /** Sends SIGTERM and waits. @returns the exit code */
  async stop(): Promise<number | null> {
    this.#child.kill('SIGTERM')
    return (await this.ended).code
  }
}
