import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { NbdClient } from '../../packages/nbd/src/nbd-client.fixture.ts'
import { requirement } from '../requirements.ts'
import { blkd, RunningBlkd } from '../support/running-blkd.ts'
import { emptyImage, servableDevices } from '../support/served-devices.ts'
import { StorageDaemon } from '../support/storage-daemon.ts'

const [READ, WRITE, FLUSH] = [0, 1, 3] as const
const [EPERM, EIO] = [1, 5] as const
const BLOCK = 4096

let folder = ''
let socket = ''
const clients: NbdClient[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'blkd-'))
  socket = join(folder, 'nbd')
})
afterEach(() => {
  for (const client of clients.splice(0)) client.close()
  rmSync(folder, { recursive: true })
})

async function open(): Promise<NbdClient> {
  const client = await NbdClient.open(socket)
  clients.push(client)
  return client
}

/** Writes block after block, each of its own content, until it fails or is told to stop. */
class Load {
  /** Blocks that were confirmed, from the first on. */
  confirmed = 0
  stopped = false
  failed = false
  readonly ended: Promise<void>

  constructor(client: NbdClient) {
    this.ended = this.#run(client)
  }

  async #run(client: NbdClient): Promise<void> {
    for (let block = 0; !this.stopped; block = (block + 1) % 4096) {
      try {
        await client.write(block * BLOCK, Buffer.alloc(BLOCK, (block % 255) + 1))
      } catch {
        this.failed = true
        return
      }
      this.confirmed = Math.max(this.confirmed, block + 1)
    }
  }

  async reaches(confirmed: number): Promise<void> {
    while (this.confirmed < confirmed && !this.failed) await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

requirement('setpriv')('blkd serve with a software disk', () => {
  it('takes the place of a dead socket, and leaves a live one and other files alone', async () => {
    await using first = await RunningBlkd.serve('model:block', socket)
    expect(statSync(socket).mode & 0o777).toBe(0o600)
    const second = blkd('serve', 'model:block', '--nbd', `unix:${socket}`)
    expect(second).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('somebody answers') })
    first.child.kill('SIGKILL')
    await first.ended
    expect(existsSync(socket)).toBe(true)
    await using third = await RunningBlkd.serve('model:block', socket)
    expect(await (await open()).errnoOf(FLUSH, 0, 0)).toBe(0)
    expect(await third.stop()).toBe(0)
    expect(existsSync(socket)).toBe(false)
    expect(third.events.at(-1)).toEqual({ event: 'stopped', reason: 'SIGTERM' })
    const file = emptyImage(folder, 512)
    expect(blkd('serve', 'model:block', '--nbd', `unix:${file}`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('not a socket'),
    })
    expect(statSync(file).size).toBe(512)
  })

  it('serves several clients at once, and does not mind one that dies in the middle of a write', async () => {
    await using served = await RunningBlkd.serve('model:block', socket)
    const [a, b, c] = [await open(), await open(), await open()]
    const load = new Load(a)
    c.request(WRITE, 0, 1 << 20, { data: Buffer.alloc(1000, 0xff) })
    for (let i = 0; i < 50; i++) {
      const victim = await open()
      victim.request(WRITE, 32 * 2 ** 20, 1 << 20, { data: Buffer.alloc(i * 1000, 0xff) })
      for (let n = 0; n < 20; n++) victim.request(READ, 0, 65536)
      victim.close()
      expect((await b.read(48 * 2 ** 20, BLOCK)).chunks).toEqual([`hole ${BLOCK}`])
    }
    c.close()
    load.stopped = true
    await load.ended
    expect(load.failed).toBe(false)
    expect((await b.read(32 * 2 ** 20, 1 << 20)).chunks).toEqual([`hole ${1 << 20}`])
    // What one client wrote the other one reads.
    await a.write(BLOCK, Buffer.alloc(BLOCK, 0x55))
    expect((await b.read(BLOCK, BLOCK)).bytes.every((byte) => byte === 0x55)).toBe(true)
    expect(await served.stop()).toBe(0)
  })

  it('refuses writes with --read-only', async () => {
    await using served = await RunningBlkd.serve('model:block', socket, '--read-only')
    expect(served.events[0]).toMatchObject({ readOnly: true })
    const client = await open()
    expect(client.flags & 2).toBe(2)
    expect(await client.errnoOf(WRITE, 0, 512, { data: Buffer.alloc(512, 1) })).toBe(EPERM)
    expect((await client.read(0, 512)).chunks).toEqual(['hole 512'])
    const to = spawn('qemu-img', ['convert', '-n', '-O', 'raw', emptyImage(folder), served.uri])
    expect(await new Promise((resolve) => to.on('close', resolve))).not.toBe(0)
  })

  it('hangs up on rubbish and says so', async () => {
    await using served = await RunningBlkd.serve('model:block', socket)
    const client = await open()
    client.send(Buffer.alloc(64, 0xaa))
    await client.untilEnded()
    expect(await served.event('disconnected')).toMatchObject({ violation: expect.stringContaining('no request') })
  })

  it('comes up again when the device breaks its ring', async () => {
    // This device names a chain that nobody gave it, once.
    await using served = await RunningBlkd.serve('model:block,hostile=id-range', socket)
    const client = await open()
    expect(await client.errnoOf(READ, 0, 512)).toBe(EIO)
    expect(await served.event('fault')).toMatchObject({ code: expect.stringMatching(/^ring\./) })
    await served.event('reset')
    expect(await client.errnoOf(READ, 0, 512)).toBe(0)
    expect(await served.stop()).toBe(0)
  })
})

for (const device of servableDevices.slice(1)) {
  const needs = device.name === 'qemu' ? ['qemu', 'setpriv'] : ['qemu-storage-daemon', 'setpriv']
  requirement(...needs)(`blkd serve with a disk that keeps, ${device.name}`, () => {
    it('killed under load: what had been flushed is there with the next one', async () => {
      const backing = await device.make(folder)
      await using served = await RunningBlkd.serve(backing.locator, socket)
      const [client, loading] = [await open(), await open()]
      await client.write(32 * 2 ** 20, Buffer.alloc(BLOCK, 0x77))
      expect(await client.errnoOf(FLUSH, 0, 0)).toBe(0)
      const load = new Load(loading)
      await load.reaches(50)
      served.child.kill('SIGKILL')
      await served.ended
      await load.ended
      const { confirmed } = load
      expect(confirmed).toBeGreaterThanOrEqual(50)
      await using next = await RunningBlkd.serve(backing.locator, socket)
      const again = await open()
      expect((await again.read(32 * 2 ** 20, BLOCK)).bytes.every((byte) => byte === 0x77)).toBe(true)
      // The block that was under way may be there or not; nothing of another block's content is.
      for (let block = 0; block < confirmed; block++) {
        const { bytes } = await again.read(block * BLOCK, BLOCK)
        expect([block, bytes.every((byte) => byte === (block % 255) + 1)]).toEqual([block, true])
      }
      expect(await next.stop()).toBe(0)
      await backing.daemon?.kill()
    })

    it('stops in order under load: every confirmed write is in the image, exit code 0', async () => {
      const backing = await device.make(folder)
      await using served = await RunningBlkd.serve(backing.locator, socket)
      const load = new Load(await open())
      await load.reaches(50)
      expect(await served.stop()).toBe(0)
      await load.ended
      const { confirmed } = load
      expect(confirmed).toBeGreaterThanOrEqual(50)
      const image = readFileSync(String(backing.image))
      for (let block = 0; block < confirmed; block++) {
        const bytes = image.subarray(block * BLOCK, (block + 1) * BLOCK)
        expect([block, bytes.every((byte) => byte === (block % 255) + 1)]).toEqual([block, true])
      }
      await backing.daemon?.kill()
    })
  })
}

requirement('qemu', 'setpriv')('blkd serve with a device that goes', () => {
  it('ends with 69 when QEMU is gone: requests fail, the socket is removed', async () => {
    const image = emptyImage(folder)
    await using served = await RunningBlkd.serve(`qemu:virtio-blk-pci;drive=${image}`, socket)
    const client = await open()
    expect((await client.read(0, 512)).bytes.length).toBe(512)
    const qemu = descendantsOf(served.pid).find(({ command }) => command.startsWith('qemu-system'))
    process.kill(qemu?.pid as number, 'SIGKILL')
    await served.event('fault')
    expect((await served.ended).code).toBe(69)
    expect(existsSync(socket)).toBe(false)
    await client.untilEnded()
    expect(served.stderr).toMatch(/^blkd: .*\n(.*\n)* {2}fix: /)
  })
})

requirement('qemu-storage-daemon', 'setpriv')('blkd serve with a back-end that comes back', () => {
  it('answers EIO while it is away, and goes on with the next one; the first flush fails', async () => {
    const image = emptyImage(folder)
    const path = join(folder, 'vhost')
    const first = await StorageDaemon.launch({ path, image, writable: true })
    await using served = await RunningBlkd.serve(`vhost-user:${path}`, socket)
    const [client, clean] = [await open(), await open()]
    await client.write(0, Buffer.alloc(BLOCK, 1))
    expect(await clean.errnoOf(FLUSH, 0, 0)).toBe(0)
    await client.write(BLOCK, Buffer.alloc(BLOCK, 2))
    first.signal('SIGSTOP')
    const held = client.request(READ, 0, 512)
    await first.kill()
    expect(await client.reply()).toMatchObject({ cookie: held, error: EIO })
    await served.event('fault')
    expect(await client.errnoOf(READ, 0, 512)).toBe(EIO)
    await expect(NbdClient.open(socket)).rejects.toThrow('not there at the moment')
    rmSync(path)
    await using next = await StorageDaemon.launch({ path, image, writable: true })
    await served.event('reset')
    expect((await client.read(0, BLOCK)).bytes.every((byte) => byte === 1)).toBe(true)
    // Whether the second write has reached its storage, nobody knows: the flush says so, once to each who was there.
    expect(await client.errnoOf(FLUSH, 0, 0)).toBe(EIO)
    expect(await client.errnoOf(FLUSH, 0, 0)).toBe(0)
    expect(await clean.errnoOf(FLUSH, 0, 0)).toBe(EIO)
    expect(await (await open()).errnoOf(FLUSH, 0, 0)).toBe(0)
    expect(await served.stop()).toBe(0)
    await next.kill()
  })
})

/** Processes below one, from /proc. */
function descendantsOf(pid: number): { pid: number; command: string }[] {
  const lines = execFileSync('ps', ['-e', '-o', 'pid=,ppid=,comm='], { encoding: 'utf8' }).trim().split('\n')
  const all = lines
    .map((line) => line.trim().split(/\s+/))
    .map(([own, parent, command]) => ({
      pid: Number(own),
      parent: Number(parent),
      command: command ?? '',
    }))
  const found = all.filter(({ parent }) => parent === pid)
  return [...found, ...found.flatMap((child) => descendantsOf(child.pid))]
}
