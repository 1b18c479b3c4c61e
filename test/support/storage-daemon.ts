import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'

export interface StorageDaemonOptions {
  /** Of the vhost-user socket. */
  readonly path: string
  /** A raw image. */
  readonly image: string
  readonly writable?: boolean
  readonly queues?: number
  /** Bytes. @defaultValue 512 */
  readonly blockSize?: number
  /** More words of the command line; the last `--blockdev` of them is to be named `top`, if there are any. `{image}` is the image's path. */
  readonly more?: readonly string[]
}

/** QEMU's storage daemon with one image behind a vhost-user-blk socket; killed with this process. */
export class StorageDaemon implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  #output = ''

  private constructor({ path, image, blockSize, writable = false, queues = 1, more = [] }: StorageDaemonOptions) {
    const block = `driver=file,node-name=image,filename=${image},discard=unmap`
    const top = more.length > 0 ? 'top' : 'image'
    const named = `type=vhost-user-blk,id=export,node-name=${top},addr.type=unix,addr.path=${path}`
    const exported = `${named},writable=${writable ? 'on' : 'off'},num-queues=${queues}`
    const sized = blockSize === undefined ? exported : `${exported},logical-block-size=${blockSize}`
    const words = ['--blockdev', block, ...more.map((word) => word.replaceAll('{image}', image)), '--export', sized]
    const daemon = ['qemu-storage-daemon', ...words]
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', ...daemon], { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (piece: string) => (this.#output += piece))
    }
    this.#ended = new Promise((resolve) => this.#child.once('close', () => resolve()))
  }

  /**
   * Returns when the socket's file is there, which is a moment before anybody can connect.
   * @throws Error with its last words when it ends, or the file does not come in time
   */
  static async launch(options: StorageDaemonOptions): Promise<StorageDaemon> {
    const daemon = new StorageDaemon(options)
    for (let waited = 0; !existsSync(options.path); waited += 10) {
      if (daemon.#child.exitCode !== null || waited > 10_000) {
        await daemon.kill()
        throw new Error(`qemu-storage-daemon does not listen at ${options.path}: ${daemon.#output}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    return daemon
  }

  /** Stops it where it is, or lets it go on: it answers nothing in between. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal)
  }

  /** SIGKILL. @returns when it has ended */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill()
  }
}
