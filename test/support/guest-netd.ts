import type { Guest, GuestProcess } from '../../scripts/guest/linux-guest.mjs'

export interface NetdResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const path = '/virtio-ts/apps/netd/command-server.mjs'

const server = `
import { createInterface } from 'node:readline'
import { dispatch } from '@virtio-ts/command-line'
import { memoryIo } from '@virtio-ts/command-line/memory-io'
import { netd } from './dist/command-line/netd.js'

console.log('serving')
for await (const line of createInterface({ input: process.stdin })) {
  const { id, args } = JSON.parse(line)
  const { io, stdout, stderr } = memoryIo()
  const code = await dispatch(netd, args, io)
  console.log(JSON.stringify({ id, code, stdout: stdout(), stderr: stderr() }))
}
`

/** netd's command lines in a guest, one process for all of them: to start node there takes a second, and longer on a busy machine. */
export class GuestNetd {
  readonly #process: GuestProcess
  #nextId = 1

  private constructor(process: GuestProcess) {
    this.#process = process
  }

  static async start(guest: Guest): Promise<GuestNetd> {
    await guest.writeFile(path, server)
    const process = await guest.spawn(['node', path], { stdin: true })
    await process.waitForLine(/^serving$/, 120)
    return new GuestNetd(process)
  }

  async run(...args: readonly string[]): Promise<NetdResult> {
    const id = this.#nextId++
    this.#process.write(`${JSON.stringify({ id, args })}\n`)
    const line = await this.#process.waitForLine(new RegExp(`^\\{"id":${id},`), 120)
    const { code, stdout, stderr } = JSON.parse(line) as NetdResult
    return { code, stdout, stderr }
  }
}
