import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { close, openTerminal, type TerminalModes, terminalModes } from '@virtio-ts/native'
import { PtyStream } from '../../apps/vcon/src/terminal/pty-stream.ts'

const program = fileURLToPath(new URL('../../apps/vcon/bin/vcon.js', import.meta.url))

export interface VconEvent {
  readonly event: string
  readonly [key: string]: unknown
}

/** A `vcon attach --json`, on a terminal of its own or between pipes. */
export class RunningVcon {
  readonly child: ChildProcess
  readonly events: VconEvent[] = []
  /** What vcon said that is no event. */
  messages = ''
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>

  constructor(child: ChildProcess, eventStream: Readable) {
    this.child = child
    let rest = ''
    const parse = (chunk: Buffer): void => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        if (line.startsWith('{')) this.events.push(JSON.parse(line) as VconEvent)
        else this.messages += `${line}\n`
      }
    }
    eventStream.on('data', parse)
    if (eventStream !== child.stderr) child.stderr?.on('data', (chunk: Buffer) => (this.messages += chunk))
    this.ended = once(child, 'close').then(([code, signal]) => ({ code, signal }))
  }

  /** Between pipes: the port's data on stdin and stdout. */
  static piped(args: readonly string[]): RunningVcon {
    const child = spawn(process.execPath, [program, 'attach', ...args, '--json'], { stdio: 'pipe' })
    return new RunningVcon(child, child.stderr)
  }

  /** With `--link` in the arguments: nothing on stdin, events on stdout. */
  static linked(args: readonly string[]): RunningVcon {
    const child = spawn(process.execPath, [program, 'attach', ...args, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] })
    return new RunningVcon(child, child.stdout)
  }

  get stdin(): Writable {
    return this.child.stdin as Writable
  }

  get stdout(): Readable {
    return this.child.stdout as Readable
  }

  /** Waits for the `count`-th event of this name. @throws with everything vcon said when it ended first, or after 20 s */
  async event(name: string, count = 1): Promise<VconEvent> {
    for (let turn = 0; turn < 2000; turn++) {
      const found = this.events.filter(({ event }) => event === name)[count - 1]
      if (found) return found
      if (this.child.exitCode !== null || this.child.signalCode !== null) break
      await delay(10)
    }
    throw new Error(`vcon did not say ${name}: ${JSON.stringify(this.events)} ${this.messages}`)
  }

  /** Sends SIGTERM and waits. @returns the exit code */
  async stop(): Promise<number | null> {
    this.child.kill('SIGTERM')
    return (await this.ended).code
  }

  /** Its children: QEMU. */
  get children(): number[] {
    return readFileSync(`/proc/${this.child.pid}/task/${this.child.pid}/children`, 'utf8')
      .split(' ')
      .filter(Boolean)
      .map(Number)
  }
}

/** A terminal with a vcon on it, and somebody who types and looks. */
export class VconOnTerminal extends RunningVcon {
  /** The modes of the terminal before vcon was started. */
  readonly before: TerminalModes
  readonly #keyboard: PtyStream
  readonly #terminal: number
  #screen = ''

  static start(args: readonly string[]): VconOnTerminal {
    const keyboard = new PtyStream()
    const terminal = openTerminal(keyboard.path)
    // As a terminal is in which a shell has just started a program.
    execFileSync('stty', ['sane'], { stdio: [terminal, 'ignore', 'inherit'] })
    return new VconOnTerminal(keyboard, terminal, args)
  }

  private constructor(keyboard: PtyStream, terminal: number, args: readonly string[]) {
    const before = terminalModes(terminal) as TerminalModes
    const child = spawn('setsid', ['--ctty', process.execPath, program, 'attach', ...args, '--json'], {
      stdio: [terminal, terminal, 'pipe'],
    })
    super(child, child.stderr as Readable)
    this.before = before
    this.#keyboard = keyboard
    this.#terminal = terminal
    keyboard.on('data', (chunk: Buffer) => (this.#screen += chunk.toString('latin1')))
  }

  get path(): string {
    return this.#keyboard.path
  }

  /** The modes of the terminal now. */
  get modes(): TerminalModes {
    return terminalModes(this.#terminal) as TerminalModes
  }

  get screen(): string {
    return this.#screen
  }

  type(text: string): void {
    this.#keyboard.write(Buffer.from(text, 'latin1'))
  }

  /** Waits until this can be seen on the screen. */
  async see(text: string): Promise<void> {
    for (let turn = 0; turn < 1000; turn++) {
      if (this.#screen.includes(text)) return
      await delay(10)
    }
    throw new Error(`never seen: ${JSON.stringify(text)} in ${JSON.stringify(this.#screen)}`)
  }

  /** Whoever was at the keyboard has gone. */
  hangUp(): void {
    this.#keyboard.destroy()
  }

  async close(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.ended
    close(this.#terminal)
    this.#keyboard.destroy()
  }
}

/** A folder for sockets and links, and whoever is at the other end of a port. */
export class OtherEnd {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'virtio-ts-vcon-'))
  readonly socket: string = join(this.folder, 'con0.sock')
  readonly #peers: Socket[] = []

  /** A locator of a bench with one port. @param port as QEMU spells it */
  locator(port: string): string {
    return `qemu:${port};chardev=${this.socket},server=on,wait=off`
  }

  /** Connects to the port that vcon has opened. */
  async connect(): Promise<Socket> {
    const peer = connect(this.socket)
    this.#peers.push(peer)
    await once(peer, 'connect')
    return peer
  }

  close(): void {
    for (const peer of this.#peers) peer.destroy()
    rmSync(this.folder, { recursive: true })
  }
}
