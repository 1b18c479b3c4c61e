import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(repository, 'examples')
const examples = readdirSync(folder).filter((name) => name.endsWith('.mjs'))

interface Outcome {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

function run(command: string, ...args: readonly string[]): Promise<Outcome> {
  const child = spawn(command, args, { cwd: repository, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = { stdout: '', stderr: '' }
  child.stdout.on('data', (piece: Buffer) => (output.stdout += piece))
  child.stderr.on('data', (piece: Buffer) => (output.stderr += piece))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, ...output }))
  })
}

/** As a user runs it, except that the packages are the sources and nothing has to be built. */
function runExample(name: string): Promise<Outcome> {
  const hook = new URL('../../packages/qemu/src/load-typescript.fixture.mjs', import.meta.url).href
  const register = `data:text/javascript,import{register}from"node:module";register(${JSON.stringify(hook)})`
  return run(process.execPath, '--conditions=@virtio-ts/source', '--import', register, join(folder, name))
}

describe('examples', () => {
  it('are all run below', () => {
    expect(examples.toSorted()).toEqual([
      'frames-from-qemu.mjs',
      'polled-answer.mjs',
      'random-bytes.mjs',
      'vhost-user-back-end.mjs',
    ])
  })

  it.each(examples)('%s is short, is checked by the compiler, and says how to run it', (name) => {
    const lines = readFileSync(join(folder, name), 'utf8').trimEnd().split('\n')
    // One of them is a program with options, the others are there to be read.
    expect(lines.length).toBeLessThanOrEqual(name === 'vhost-user-back-end.mjs' ? 80 : 30)
    expect(lines[0]).toBe('// @ts-check')
    expect(lines.slice(1, 5).join(' ')).toContain(`node examples/${name}`)
  })

  it('have no type errors', async () => {
    const tsc = join(repository, 'node_modules/.bin/tsc')
    expect(await run(tsc, '-p', 'examples', '--pretty', 'false')).toEqual({ status: 0, stdout: '', stderr: '' })
  })

  it('polled-answer.mjs prints the answer it sends itself', async () => {
    expect(await runExample('polled-answer.mjs')).toEqual({ status: 0, stdout: 'answer: yes\n', stderr: '' })
  })
})

requirement('qemu')('examples on QEMU', () => {
  it('random-bytes.mjs prints 32 bytes, others each time', async () => {
    const first = await runExample('random-bytes.mjs')
    expect(first).toEqual({ status: 0, stdout: expect.stringMatching(/^[0-9a-f]{64}\n$/), stderr: '' })
    expect((await runExample('random-bytes.mjs')).stdout).not.toBe(first.stdout)
  })

  it('frames-from-qemu.mjs prints what the network answers', async () => {
    // QEMU's user network: addresses 52:55 and the IP address, frames padded to 64 bytes.
    const { status, stdout, stderr } = await runExample('frames-from-qemu.mjs')
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^(4[2-9]|5\d|6\d) bytes from 52:55:0a:00:02:02\n$/)
  })
})
