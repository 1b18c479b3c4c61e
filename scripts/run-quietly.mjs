// Runs a command without showing its output unless it fails (or, with `live`, on stderr as it comes); nothing on stdout.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const environment = {
  TURBO_TELEMETRY_DISABLED: '1',
  TURBO_NO_UPDATE_NOTIFIER: '1',
  npm_config_loglevel: 'error',
  FORCE_COLOR: '0',
}

/** Resolves to { status, output, seconds }; a command that cannot be started has status 127. */
export async function run(command, args, { env = {}, live = false } = {}) {
  const started = performance.now()
  const chunks = []
  const status = await new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}`, ...env },
    })
    const keep = (chunk) => {
      chunks.push(chunk)
      if (live) process.stderr.write(chunk)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('error', (error) => {
      chunks.push(Buffer.from(String(error)))
      resolve(127)
    })
    child.on('close', (code, signal) => resolve(signal === null ? code : 1))
  })
  return { status, output: Buffer.concat(chunks).toString(), seconds: (performance.now() - started) / 1000 }
}

/** Like run, announced on stderr; throws with the command's output when it fails. */
export async function runOrThrow(what, command, args, options) {
  process.stderr.write(`${what} ... `)
  const { status, output, seconds } = await run(command, args, options)
  process.stderr.write(status === 0 ? `${seconds.toFixed(1)} s\n` : 'failed\n')
  if (status === 0) return
  process.stderr.write(output)
  throw new Error(`${what} failed: ${[command, ...args].join(' ')} exited with ${status}`)
}
