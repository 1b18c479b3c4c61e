import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('../../examples/vhost-user-back-end.mjs', import.meta.url))
const hook = new URL('../../packages/qemu/src/load-typescript.fixture.mjs', import.meta.url).href
const register = `data:text/javascript,import{register}from"node:module";register(${JSON.stringify(hook)})`

/** What Node is told to run the back-end program from the sources as they are. */
export const backEndProgram: readonly string[] = ['--conditions=@virtio-ts/source', '--import', register, program]

/** The back-end program of `examples/` in a process of its own. */
export class BackEndProgram {
  readonly #child: ChildProcess
  #output = ''

  private constructor(child: ChildProcess) {
    this.#child = child
    child.stderr?.setEncoding('utf8').on('data', (piece: string) => (this.#output += piece))
  }

  /**
   * Returns when the socket is there.
   * @throws Error with its last words when it ends, or the socket does not come in time
   */
  static async launch(path: string, words: readonly string[]): Promise<BackEndProgram> {
    const node = [process.execPath, ...backEndProgram, ...words, `--socket-path=${path}`]
    const own = new BackEndProgram(
      spawn('setpriv', ['--pdeathsig', 'KILL', ...node], { stdio: ['ignore', 'ignore', 'pipe'] }),
    )
    for (let waited = 0; !existsSync(path); waited += 10) {
      if (own.#child.exitCode !== null || waited > 20_000) {
        await own.kill()
        throw new Error(`the back-end program does not listen at ${path}: ${own.#output}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    return own
  }

  /** Waits until a front-end has connected. @throws Error when none comes in time */
  async connected(): Promise<void> {
    for (let waited = 0; !this.#output.includes('connected'); waited += 10) {
      if (waited > 60_000) throw new Error(`no front-end came to the back-end program: ${this.#output}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGHUP'): void {
    this.#child.kill(signal)
  }

  /** SIGTERM. @returns its exit code, or the signal that ended it */
  async terminate(): Promise<number | string | null> {
    const ended = this.#ended()
    this.#child.kill('SIGTERM')
    return ended
  }

  /** SIGKILL. @returns when it has ended */
  async kill(): Promise<void> {
    const ended = this.#ended()
    this.#child.kill('SIGKILL')
    await ended
  }

  async #ended(): Promise<number | string | null> {
    const { exitCode, signalCode } = this.#child
    if (exitCode !== null || signalCode !== null) return exitCode ?? signalCode
    const [code, signal] = await once(this.#child, 'exit')
    return code ?? signal
  }
}
