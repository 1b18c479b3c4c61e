import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('../../apps/balloond/bin/balloond.js', import.meta.url))

export interface BalloondEvent {
  readonly event: string
  readonly [key: string]: unknown
}

/** A `balloond --json` with a folder of its own: its events, its end, and the QMP socket of its bench, if it has one. */
export class RunningBalloond {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'virtio-ts-balloond-'))
  readonly socket: string = join(this.folder, 'qmp.sock')
  /** Where tests put a pressure of their own. */
  readonly pressureFile: string = join(this.folder, 'pressure')
  readonly events: BalloondEvent[] = []
  #child: ChildProcess | undefined
  #ended: Promise<{ readonly code: number | null; readonly signal: string | null }> | undefined
  #messages = ''
  #qmp: ((command: string, args?: object) => Promise<unknown>) | undefined

  constructor() {
    this.press(0)
  }

  /** A locator of a bench whose QMP is at `socket`. @param device as QEMU spells it */
  bench(device: string): string {
    return `qemu:${device};chardev=${this.socket},server=on,wait=off`
  }

  start(...args: readonly string[]): void {
    const child = spawn(process.execPath, [program, ...args, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    createInterface(child.stdout).on('line', (line) => this.events.push(JSON.parse(line) as BalloondEvent))
    child.stderr.on('data', (chunk: Buffer) => (this.#messages += chunk))
    this.#ended = once(child, 'close').then(([code, signal]) => ({ code, signal }))
  }

  get messages(): string {
    return this.#messages
  }

  get ended(): Promise<{ readonly code: number | null; readonly signal: string | null }> {
    if (!this.#ended) throw new Error('not started')
    return this.#ended
  }

  /** The process of its bench. */
  get qemu(): number {
    const pid = this.#child?.pid
    return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim())
  }

  /** What the kernel would say of work that waited for so many percent of the last ten seconds. */
  press(percent: number): void {
    const line = `avg10=${percent.toFixed(2)} avg60=0.00 avg300=0.00 total=0\n`
    writeFileSync(`${this.pressureFile}.new`, `some ${line}full ${line}`)
    renameSync(`${this.pressureFile}.new`, this.pressureFile)
  }

  /** Waits for the `count`-th event that is like this one. */
  async event(like: BalloondEvent, count = 1): Promise<BalloondEvent> {
    const matches = (event: BalloondEvent): boolean =>
      Object.entries(like).every(([key, value]) => event[key] === value)
    for (let turn = 0; turn < 2000; turn++) {
      const found = this.events.filter(matches)[count - 1]
      if (found) return found
      if (this.#child?.exitCode !== null || this.#child.signalCode !== null) break
      await delay(10)
    }
    throw new Error(`never came: ${JSON.stringify(like)} in ${JSON.stringify(this.events)} ${this.#messages}`)
  }

  /** Asks QEMU. */
  async qmp<Result>(command: string, args?: object): Promise<Result> {
    this.#qmp ??= await openQmp(this.socket)
    return (await this.#qmp(command, args)) as Result
  }

  /** Bytes that QEMU says the machine has left. */
  async left(): Promise<number> {
    return (await this.qmp<{ actual: number }>('query-balloon')).actual
  }

  /** Sends SIGTERM and waits. @returns the exit code */
  async stop(): Promise<number | null> {
    this.#child?.kill('SIGTERM')
    return (await this.ended).code
  }

  async close(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#ended
    rmSync(this.folder, { recursive: true })
  }
}

/** A second QMP connection, as any tool opens one. */
async function openQmp(path: string): Promise<(command: string, args?: object) => Promise<unknown>> {
  for (let turn = 0; turn < 500 && !existsSync(path); turn++) await delay(10)
  const socket = connect(path).on('error', () => {})
  const answers: ((answer: { return?: unknown; error?: { desc: string } }) => void)[] = []
  const greeting = new Promise<void>((resolve) => {
    const lines = createInterface(socket).on('error', () => {})
    lines.on('line', (line) => {
      const message = JSON.parse(line) as Record<string, unknown>
      if ('QMP' in message) resolve()
      else if (!('event' in message)) answers.shift()?.(message)
    })
  })
  await greeting
  const ask = (execute: string, args?: object): Promise<unknown> =>
    new Promise((resolve, reject) => {
      answers.push((answer) => (answer.error ? reject(new Error(answer.error.desc)) : resolve(answer.return)))
      socket.write(`${JSON.stringify({ execute, arguments: args })}\n`)
    })
  await ask('qmp_capabilities')
  return ask
}
