import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface SourceResult {
  readonly status: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a text of ESM in a Node of its own. In it, `@virtio-ts/native` is this package's source.
 *
 * @param options `inherit`: descriptors that the child has as 3, 4, ...; `timeoutMs`: it is killed then; `ownSession`: it has no terminal
 */
export async function runSource(
  script: string,
  options: {
    readonly inherit?: readonly number[]
    readonly timeoutMs?: number
    readonly nodeOptions?: readonly string[]
    readonly ownSession?: boolean
  } = {},
): Promise<SourceResult> {
  const child: ChildProcess = spawn(
    process.execPath,
    [
      '--conditions=@virtio-ts/source',
      `--import=${new URL('register-source.mjs', import.meta.url).href}`,
      ...(options.nodeOptions ?? []),
      '--input-type=module',
      '--eval',
      script,
    ],
    {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'pipe', 'pipe', ...(options.inherit ?? [])],
      detached: options.ownSession === true,
      timeout: options.timeoutMs ?? 20_000,
      killSignal: 'SIGKILL',
    },
  )
  const text = { stdout: '', stderr: '' }
  child.stdout?.on('data', (chunk) => {
    text.stdout += chunk
  })
  child.stderr?.on('data', (chunk) => {
    text.stderr += chunk
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => resolve({ status, signal, ...text }))
  })
}
