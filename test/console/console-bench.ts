import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ConsolePort } from '@virtio-ts/driver-console'
import { QemuBench } from '@virtio-ts/qemu'

/** QEMU with a virtio-serial device, a console and two named ports; each has a Unix socket at its other end. */
export interface ConsoleMachine {
  readonly bench: QemuBench
  /** Connects to the chardev `c0`, `c1`, ... */
  peer(chardev: string): Promise<Socket>
  close(): Promise<void>
}

export async function startConsoleMachine(device: string, chardevs: number = 4): Promise<ConsoleMachine> {
  const folder = mkdtempSync(join(tmpdir(), 'virtio-ts-console-'))
  const names = Array.from({ length: chardevs }, (_, i) => `c${i}`)
  const peers: Socket[] = []
  try {
    const bench = await QemuBench.start({
      devices: [
        `${device},id=serial`,
        'virtconsole,chardev=c0,id=p0',
        'virtserialport,chardev=c1,name=org.example.one,id=p1',
        'virtserialport,chardev=c2,name=org.example.two,id=p2',
      ],
      chardevs: names.map((id) => `socket,id=${id},path=${join(folder, id)},server=on,wait=off`),
    })
    return {
      bench,
      async peer(chardev) {
        const socket = connect(join(folder, chardev))
        peers.push(socket)
        await once(socket, 'connect')
        return socket
      },
      async close() {
        for (const peer of peers) peer.destroy()
        await bench.close()
        rmSync(folder, { recursive: true })
      },
    }
  } catch (error) {
    rmSync(folder, { recursive: true })
    throw error
  }
}

/** Waits for an event of a port, unless what it tells is true already. */
export async function until(port: ConsolePort, event: string, already: () => boolean): Promise<void> {
  if (!already()) await once(port, event)
}

const BLOCK = 64 * 1024

/** Writes `length` bytes that differ from place to place, as fast as they are taken. @returns their SHA-256 */
export async function pour(into: Writable, length: number, seed: number): Promise<string> {
  const hash = createHash('sha256')
  for (let at = 0; at < length; at += BLOCK) {
    const block = Buffer.alloc(Math.min(BLOCK, length - at), createHash('sha256').update(`${seed} ${at}`).digest())
    hash.update(block)
    if (!into.write(block)) await once(into, 'drain')
  }
  return hash.digest('hex')
}

/** Reads `length` bytes, and keeps none. @returns their SHA-256 */
export function drink(from: Readable, length: number): Promise<string> {
  const hash = createHash('sha256')
  let done = 0
  return new Promise((resolve, reject) => {
    from.on('error', reject)
    from.on('close', () => reject(new Error(`closed after ${done} of ${length} bytes`)))
    from.on('data', (bytes: Uint8Array) => {
      hash.update(bytes)
      done += bytes.length
      if (done === length) resolve(hash.digest('hex'))
      if (done > length) reject(new Error(`${done - length} bytes too many`))
    })
    // It may have been paused.
    from.resume()
  })
}
