import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { NetworkNamespace } from './network-namespace.ts'

const serverScript = fileURLToPath(new URL('./transfer-server.mjs', import.meta.url))
const leaseScript = fileURLToPath(new URL('./udhcpc-script.sh', import.meta.url))

/** A stock DHCP client on `interfaceName`. @returns the address leased */
export async function lease(namespace: NetworkNamespace, interfaceName: string): Promise<string> {
  const output = await namespace.runAsync(
    'udhcpc',
    '-i',
    interfaceName,
    '-f',
    '-n',
    '-q',
    '-t',
    '5',
    '-T',
    '2',
    '-s',
    leaseScript,
  )
  return /^lease (.*)$/m.exec(output)?.[1] ?? ''
}

/** An HTTP server in a namespace, and what it serves. */
export class TransferServer {
  readonly port: number
  readonly sha256: string
  readonly #end: () => void

  private constructor(port: number, sha256: string, end: () => void) {
    this.port = port
    this.sha256 = sha256
    this.#end = end
  }

  static start(namespace: NetworkNamespace, bytes: number, seed: number, host = '127.0.0.1'): Promise<TransferServer> {
    const child = namespace.spawn(process.execPath, [serverScript, String(bytes), String(seed), host], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    return new Promise((resolve, reject) => {
      child.on('error', reject)
      child.stdout?.once('data', (line: Buffer) => {
        const { port, sha256 } = JSON.parse(line.toString()) as { port: number; sha256: string }
        resolve(new TransferServer(port, sha256, () => child.kill()))
      })
    })
  }

  close(): void {
    this.#end()
  }
}

/** Downloads from and uploads to `url` with curl inside the namespace. @returns the sha256 each way, as each receiver saw it */
export async function transfer(
  namespace: NetworkNamespace,
  url: string,
): Promise<{ download: string; upload: string; sent: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'vts-transfer-'))
  try {
    const file = join(folder, 'body')
    await namespace.runAsync('curl', '--silent', '--show-error', '--fail', '--max-time', '50', '--output', file, url)
    const body = readFileSync(file)
    const download = createHash('sha256').update(body).digest('hex')
    // The other way round another body, so that nothing can be answered from the first.
    const reversed = body.reverse()
    writeFileSync(`${file}.up`, reversed)
    const sent = createHash('sha256').update(reversed).digest('hex')
    const upload = await namespace.runAsync(
      'curl',
      '--silent',
      '--show-error',
      '--fail',
      '--max-time',
      '50',
      '--upload-file',
      `${file}.up`,
      url,
    )
    return { download, upload, sent }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
