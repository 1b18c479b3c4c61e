import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NbdClient } from './nbd-client.fixture.ts'
import { NbdServer, type NbdServerOptions } from './nbd-server.ts'
import type { NbdExport } from './nbd-export.ts'

/** A server on a socket in a folder of its own, and clients of it. */
export class ServedDisk implements AsyncDisposable {
  readonly server: NbdServer
  readonly path: string
  readonly disconnects: (Error | undefined)[] = []
  connects = 0
  readonly #folder: string
  readonly #clients: NbdClient[] = []

  private constructor(exports: readonly NbdExport[], options: Partial<NbdServerOptions>) {
    this.#folder = mkdtempSync(join(tmpdir(), 'nbd-'))
    this.path = join(this.#folder, 'socket')
    this.server = new NbdServer({
      exports,
      ...options,
      onConnect: () => this.connects++,
      onDisconnect: (_, violation) => this.disconnects.push(violation),
    })
  }

  static async start(exports: readonly NbdExport[], options: Partial<NbdServerOptions> = {}): Promise<ServedDisk> {
    const served = new ServedDisk(exports, options)
    await new Promise<void>((resolve) => served.server.server.listen(served.path, resolve))
    return served
  }

  /** A client that has done nothing yet. */
  connect(): NbdClient {
    const client = new NbdClient(this.path)
    this.#clients.push(client)
    return client
  }

  async open(options?: Parameters<typeof NbdClient.open>[1]): Promise<NbdClient> {
    const client = await NbdClient.open(this.path, options)
    this.#clients.push(client)
    return client
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close()
    await this.server.close(1000)
    rmSync(this.#folder, { recursive: true })
  }
}

/** Turns of the event loop until something is so. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2))
}
