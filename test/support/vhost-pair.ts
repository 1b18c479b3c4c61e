import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Testpmd, vhostDevice } from '@virtio-ts/conformance/testpmd'

export interface VhostPairOptions {
  /** Queue pairs of each port. @defaultValue 1 */
  readonly queues?: number
  /** testpmd connects, and the front-ends listen. @defaultValue false */
  readonly client?: boolean
}

/** A testpmd with two vhost-user ports, each connected with the other, which pass frames with whatever they leave undone. */
export class VhostPair {
  /** Sockets of the two ports. */
  readonly paths: readonly [string, string]
  readonly #folder = mkdtempSync(join(tmpdir(), 'vts-vhost-'))
  readonly #options: VhostPairOptions
  #testpmd: Testpmd | undefined

  constructor(options: VhostPairOptions = {}) {
    this.#options = options
    this.paths = [join(this.#folder, 'a'), join(this.#folder, 'b')]
  }

  async start(): Promise<void> {
    const { queues = 1, client = false } = this.#options
    this.#testpmd = await Testpmd.launch({
      // Without the last two the back-end expects whoever receives to have asked for every checksum and segment done.
      devices: this.paths.map(
        (path, index) => `${vhostDevice({ path, queues, client, index })},tso=1,legacy-ol-flags=1`,
      ),
      queues,
      arguments: ['--port-topology=paired'],
    })
  }

  async forward(): Promise<void> {
    await this.#testpmd?.start()
  }

  /** What testpmd has seen of a port, for messages. */
  async seen(): Promise<string> {
    return `${await this.#testpmd?.command('show port stats all')}${this.#testpmd?.output.slice(-3000)}`
  }

  /** SIGKILL: the sockets' files stay. */
  async kill(): Promise<void> {
    this.#testpmd?.kill()
    await this.#testpmd?.close()
    for (const path of this.#options.client ? [] : this.paths) rmSync(path, { force: true })
  }

  async close(): Promise<void> {
    await this.#testpmd?.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
