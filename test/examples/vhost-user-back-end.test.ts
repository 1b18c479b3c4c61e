import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RngDriver } from '@virtio-ts/driver-rng'
import { close, read, socketPair, write } from '@virtio-ts/native'
import { DeviceType } from '@virtio-ts/spec'
import { VhostUserEndpoint } from '@virtio-ts/transport-vhost-user'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { backEndProgram as node } from '../support/back-end-program.ts'

const children: ChildProcess[] = []
let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtio-ts-program-'))
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

// QEMU's docs/interop/vhost-user.rst, "Backend program conventions"
describe('a back-end program', () => {
  it.each([
    ['rng', ['--type=rng', '--what'], []],
    ['net', [], []],
    ['block', ['block', '--socket-path=x'], ['read-only', 'blk-file']],
  ])('says what it can do, and nothing else: %s', (type, words, features) => {
    const { status, stdout } = spawnSync(process.execPath, [...node, '--print-capabilities', ...words], {
      encoding: 'utf8',
    })
    expect([status, JSON.parse(stdout)]).toEqual([0, { type, features }])
  })

  it.each([
    ['neither socket nor descriptor', [], 2],
    ['both', ['--socket-path', 'x', '--fd', '3'], 2],
    ['an option nobody knows', ['--what'], 1],
    ['a descriptor that is none', ['--fd', '77'], 1],
    ['a device nobody knows', ['toaster', '--socket-path=x'], 2],
    ['a number that is none', ['block', '--socket-path=x', '--num-queues=many'], 2],
    ['an image that is not there', ['block', '--socket-path=x', '--blk-file=/nowhere/image'], 1],
    ['an image that is none', ['block', '--socket-path=x', '--blk-file=/dev/zero'], 1],
    ['a folder that is none', ['--socket-path', '/nowhere/socket'], 1],
  ])('fails early with %s', (_name, args, status) => {
    expect(spawnSync(process.execPath, [...node, ...args]).status).toBe(status)
  })

  it('serves at its socket from another process, and ends cleanly at SIGTERM', async () => {
    const path = join(folder, 'socket')
    const child = spawn(process.execPath, [...node, `--socket-path=${path}`, '--type=rng'], { stdio: 'ignore' })
    children.push(child)
    await until(() => existsSync(path), 'the socket is there')
    await using endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.ENTROPY })
    for (let n = 0; n < 2; n++) {
      const rng = await RngDriver.open(await endpoint.connect({ wait: true }))
      const bytes = await rng.randomFill(new Uint8Array(64))
      expect(new Set(bytes).size).toBeGreaterThan(16)
      if (n === 0) await rng.close()
    }
    const exit = once(child, 'exit')
    child.kill('SIGTERM')
    expect(await exit).toEqual([0, null])
    expect(existsSync(path)).toBe(false)
  })

  it('serves at the descriptor it is given, and ends with the front-end', async () => {
    const [mine, theirs] = socketPair()
    const child = spawn(process.execPath, [...node, '--fd=3'], { stdio: ['ignore', 'ignore', 'ignore', theirs] })
    children.push(child)
    close(theirs)
    // GET_FEATURES
    expect(write(mine, Uint8Array.of(1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0))).toBe(12)
    const reply = new Uint8Array(64)
    let count = -11
    await until(() => (count = read(mine, reply)) > 0, 'a reply')
    expect([count, reply[0], reply[4], reply[8]]).toEqual([20, 1, 5, 8])
    const exit = once(child, 'exit')
    close(mine)
    expect(await exit).toEqual([0, null])
  })
})
