/**
 * DPDK's testpmd as the other side: a vhost-user back-end, or DPDK's own driver. Nothing of this entry needs a test runner.
 * @packageDocumentation
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { type TestpmdOptions, testpmdArguments } from './testpmd-arguments.ts'
import { type PortStats, parsePortStats } from './testpmd-port-stats.ts'

export {
  type ForwardMode,
  type TestpmdOptions,
  type VhostDeviceOptions,
  type VirtioUserDeviceOptions,
  vhostDevice,
  virtioUserDevice,
} from './testpmd-arguments.ts'
export type { PortStats } from './testpmd-port-stats.ts'

const PROMPT = 'testpmd> '
const OUTPUT_LIMIT = 64 * 1024
const LAST_LINES = 12
const QUIT_TIMEOUT = 5000
/** How long after its end to wait for the rest of its output, in ms. */
const OUTPUT_GRACE = 50

let launched = 0
/** Killed when this process exits in order; the kernel sees to the rest (setpriv). */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/**
 * A running dpdk-testpmd. It is tied to this process: the kernel kills it when the thread that launched it ends. It is in a session of its
 * own, so that a Ctrl-C reaches this process only.
 */
export class Testpmd implements AsyncDisposable {
  /** Resolves when the process has ended and its output has been read: `with exit status 1`, `by SIGKILL`. */
  readonly exited: Promise<string>
  readonly commandLine: readonly string[]
  readonly #child: ChildProcess
  readonly #prefix: string
  readonly #commandTimeout: number
  #output = ''
  #heldBack = ''
  /** All there has been, less what is kept in `#output`: so that a place in the output stays the same number. */
  #dropped = 0
  #ended: string | undefined
  #looking = new Set<() => void>()
  #turn: Promise<unknown> = Promise.resolve()

  /**
   * Starts testpmd and waits for its prompt. Its ports are up then; nothing is forwarded before `start()`.
   * @throws Error with its last words when it ends, or says nothing in time
   */
  static async launch(options: TestpmdOptions): Promise<Testpmd> {
    const testpmd = new Testpmd(options)
    try {
      await testpmd.#prompt(0, options.startTimeout ?? 20_000, 'starting')
      return testpmd
    } catch (error) {
      testpmd.kill()
      await testpmd.close()
      throw error
    }
  }

  private constructor(options: TestpmdOptions) {
    const binary = options.binary ?? process.env['VIRTIO_TS_TESTPMD'] ?? 'dpdk-testpmd'
    this.#prefix = `virtio-ts-${process.pid}-${launched++}`
    this.#commandTimeout = options.commandTimeout ?? 10_000
    // Each replaces itself by the next, so the process is testpmd in the end. Without stdbuf its statistics stay in a buffer.
    const tied = ['setpriv', '--pdeathsig', 'KILL', 'stdbuf', '-oL', binary]
    this.commandLine = [...tied, ...testpmdArguments(options, this.#prefix)]
    const [file, ...args] = this.commandLine as [string, ...string[]]
    this.#child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true })
    running.add(this.#child)
    this.#child.stdout?.setEncoding('utf8').on('data', (piece: string) => this.#append(piece))
    this.#child.stderr?.setEncoding('utf8').on('data', (piece: string) => this.#appendError(piece))
    // It may be gone before it has read a command: `exited` tells.
    this.#child.stdin?.on('error', () => {})
    this.exited = this.#watchExit()
  }

  /** Of testpmd itself; 0 if it could not be started. */
  get pid(): number {
    return this.#child.pid ?? 0
  }

  get ended(): boolean {
    return this.#ended !== undefined
  }

  /** The last 64 KiB of what it has said, on stdout and stderr. */
  get output(): string {
    return this.#output
  }

  /**
   * Types one command; commands wait for one another.
   * @returns what testpmd answered, without the echo and the next prompt
   * @throws Error when it ends or does not answer in time
   */
  command(text: string): Promise<string> {
    const answer = this.#turn.then(() => this.#type(text))
    this.#turn = answer.catch(() => {})
    return answer
  }

  /** Starts forwarding. @param how further words, e.g. `tx_first 16` */
  async start(how = ''): Promise<void> {
    await this.command(`start ${how}`.trim())
  }

  /** Stops forwarding. @returns the statistics it prints */
  stop(): Promise<string> {
    return this.command('stop')
  }

  /** @throws Error when there is no such port */
  async portStats(port = 0): Promise<PortStats> {
    const answer = await this.command(`show port stats ${port}`)
    const stats = parsePortStats(answer)
    if (stats === undefined) throw new Error(`testpmd gave no statistics of port ${port}: ${answer}`)
    return stats
  }

  /** Waits until its output from `from` on (0: since it was launched) holds `text`. @throws Error when it ends, or after `timeout` ms */
  async waitFor(text: string, timeout: number = this.#commandTimeout, from = 0): Promise<void> {
    await this.#find(text, from, timeout, `saying '${text}'`)
  }

  /** Characters it has said so far: where `waitFor` may begin. */
  get outputLength(): number {
    return this.#dropped + this.#output.length
  }

  /** SIGKILL: what a crash looks like to its peer. The socket's file stays. */
  kill(): void {
    if (!this.ended) this.#child.kill('SIGKILL')
  }

  /** Lets it quit in order, kills it where it does not, and removes its files. Idempotent. */
  async close(): Promise<void> {
    this.#child.stdin?.end('quit\n')
    const killed = setTimeout(() => this.kill(), QUIT_TIMEOUT)
    await this.exited
    clearTimeout(killed)
    for (const folder of ['/var/run/dpdk', `${process.env['XDG_RUNTIME_DIR'] ?? '/tmp'}/dpdk`]) {
      rmSync(`${folder}/${this.#prefix}`, { recursive: true, force: true })
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #type(text: string): Promise<string> {
    const from = this.outputLength
    if (!this.ended) this.#child.stdin?.write(`${text}\n`)
    const end = await this.#prompt(from, this.#commandTimeout, `carrying out '${text}'`)
    const said = this.#output.slice(from - this.#dropped, end - this.#dropped).replaceAll('\r', '')
    return said.startsWith(text) ? said.slice(text.length).trim() : said.trim()
  }

  /** It prints a prompt when it is ready for the next command. @returns where that is */
  #prompt(from: number, timeout: number, doing: string): Promise<number> {
    return this.#find(PROMPT, from, timeout, doing)
  }

  #find(text: string, from: number, timeout: number, doing: string): Promise<number> {
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        clearTimeout(deadline)
        this.#looking.delete(look)
      }
      const look = (): void => {
        const at = this.#output.indexOf(text, Math.max(0, from - this.#dropped))
        if (at < 0 && this.#ended === undefined) return
        finish()
        if (at >= 0) resolve(this.#dropped + at)
        else reject(this.#error(`ended ${this.#ended} while ${doing}`))
      }
      const deadline = setTimeout(() => {
        finish()
        reject(this.#error(`was not done with ${doing} within ${timeout} ms`))
      }, timeout)
      this.#looking.add(look)
      look()
    })
  }

  /** A prompt may arrive in pieces, and is to be found: what stderr says meanwhile comes behind it. */
  #appendError(piece: string): void {
    if (endsInPartOf(PROMPT, this.#output)) this.#heldBack += piece
    else this.#append(piece)
  }

  #append(piece: string): void {
    this.#output += piece
    if (this.#heldBack !== '' && !endsInPartOf(PROMPT, this.#output)) {
      this.#output += this.#heldBack
      this.#heldBack = ''
    }
    const excess = this.#output.length - OUTPUT_LIMIT
    if (excess > 0) {
      this.#output = this.#output.slice(excess)
      this.#dropped += excess
    }
    for (const look of this.#looking) look()
  }

  #watchExit(): Promise<string> {
    return new Promise((resolve) => {
      const ended = (how: string): void => {
        running.delete(this.#child)
        this.#ended = how
        for (const look of this.#looking) look()
        resolve(how)
      }
      this.#child.once('error', (error) => {
        // Not started: no exit will follow.
        if (this.#child.pid === undefined) ended(`before it began (${error.message})`)
      })
      this.#child.once('exit', (code, signal) => {
        const how = signal === null ? `with exit status ${code}` : `by ${signal}`
        const grace = setTimeout(() => ended(how), OUTPUT_GRACE)
        this.#child.once('close', () => {
          clearTimeout(grace)
          ended(how)
        })
      })
    })
  }

  #error(what: string): Error {
    const lines = this.#output
      .split(/[\r\n]+/)
      // What is indented is the usage text, or a table.
      .filter((line) => /^(\S| *Cause:)/.test(line))
      .slice(-LAST_LINES)
    const remedy = /failed to (run command|execute)/.test(this.#output)
      ? '. Install it (Debian, Ubuntu: apt-get install dpdk-dev), or name it in VIRTIO_TS_TESTPMD'
      : ''
    return new Error(
      `testpmd ${what}. ${lines.length === 0 ? 'It said nothing' : `It said: ${lines.join('; ')}`}${remedy}`,
    )
  }
}

/** Whether the last line of `text` is a beginning of `whole`, and not all of it. */
function endsInPartOf(whole: string, text: string): boolean {
  const line = text.slice(text.lastIndexOf('\n') + 1)
  return line !== '' && line !== whole && whole.startsWith(line)
}
