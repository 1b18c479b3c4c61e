import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const repository: string = fileURLToPath(new URL('../..', import.meta.url))

export interface Outcome {
  readonly status: number | null
  readonly output: string
}

/** A copy of this checkout in a temporary folder, with what is installed here: a place to generate packages in. */
export class CheckoutCopy {
  readonly root: string

  constructor() {
    this.root = mkdtempSync(join(tmpdir(), 'virtio-ts-template-'))
    const left = new Set(['node_modules', 'dist', '.turbo', '.git', '.cache', 'coverage'])
    cpSync(repository, this.root, { recursive: true, filter: (path) => !left.has(path.split('/').at(-1) ?? '') })
    // `@virtio-ts/*` are the copy's own packages.
    mkdirSync(join(this.root, 'node_modules/@virtio-ts'), { recursive: true })
    for (const name of readdirSync(join(repository, 'node_modules'))) {
      if (name !== '@virtio-ts' && name !== '.cache')
        symlinkSync(join(repository, 'node_modules', name), join(this.root, 'node_modules', name))
    }
    for (const folder of ['packages', 'apps']) {
      for (const name of readdirSync(join(this.root, folder))) this.link(`${folder}/${name}`)
    }
  }

  /** What `npm install` does for a workspace. */
  link(directory: string): void {
    const name = directory.split('/').at(-1) ?? ''
    symlinkSync(join(this.root, directory), join(this.root, 'node_modules/@virtio-ts', name))
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8')
  }

  write(path: string, text: string): void {
    writeFileSync(join(this.root, path), text)
  }

  run(command: string, ...args: readonly string[]): Promise<Outcome> {
    return runIn(this.root, command, ...args)
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true })
  }
}

/** Runs a command, one of node_modules/.bin among others, to its end. */
export function runIn(directory: string, command: string, ...args: readonly string[]): Promise<Outcome> {
  // A vitest within a vitest must not take itself for one of its workers.
  const inherited = Object.entries(process.env).filter(([name]) => !/^(VITEST|NODE_ENV|NODE_OPTIONS|TEST$)/.test(name))
  const path = `${join(repository, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`
  const env = { ...Object.fromEntries(inherited), PATH: path, FORCE_COLOR: '0', TURBO_TELEMETRY_DISABLED: '1' }
  const child = spawn(command, args, { cwd: directory, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece: Buffer) => (output += piece))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, output }))
  })
}
