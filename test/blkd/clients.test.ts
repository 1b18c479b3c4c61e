import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, openSync, closeSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { RunningBlkd } from '../support/running-blkd.ts'
import { deviceSize, emptyImage, servableDevices } from '../support/served-devices.ts'

const sources = fileURLToPath(new URL('../../docs', import.meta.url))

/** Runs a client to its end without blocking this process. @throws with what it said when it failed */
async function run(command: string, ...args: string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.on('data', (piece: Buffer) => (output += piece))
  child.stderr.on('data', (piece: Buffer) => (output += piece))
  const code = await new Promise((resolve) => child.on('close', resolve))
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${output}`)
  return output
}

/** 3 MiB of noise in a file of the device's size, in odd places; the rest are holes. */
function sparseImage(folder: string): string {
  const image = emptyImage(folder)
  const file = openSync(image, 'r+')
  for (const offset of [0, 5 * 2 ** 20 + 512, deviceSize - 2 ** 20]) {
    const noise = randomFillSync(Buffer.alloc(2 ** 20))
    writeSync(file, noise, 0, noise.length, offset)
  }
  closeSync(file)
  return image
}

for (const device of servableDevices) {
  const needs = ['qemu-img', 'nbdcopy', 'mkfs.ext4', 'setpriv']
  if (device.name === 'qemu') needs.push('qemu')
  if (device.name === 'vhost-user') needs.push('qemu-storage-daemon')
  requirement(...needs)(`blkd serves a disk, ${device.name}`, () => {
    let folder = ''
    let served: RunningBlkd
    let backing: Awaited<ReturnType<typeof device.make>>
    let uri = ''
    beforeEach(async () => {
      folder = mkdtempSync(join(tmpdir(), 'blkd-'))
      backing = await device.make(folder)
      served = await RunningBlkd.serve(backing.locator, join(folder, 'nbd'), '--name', 'disk 1')
      uri = served.uri
    })
    afterEach(async () => {
      expect(await served.stop()).toBe(0)
      expect(served.stderr).toBe('')
      await backing.daemon?.kill()
      rmSync(folder, { recursive: true })
    })

    it('to nbdinfo: what it is, and that nothing is known of its holes', async () => {
      const { exports } = JSON.parse(await run('nbdinfo', '--json', uri))
      expect(exports).toMatchObject([
        {
          'export-name': 'disk 1',
          description: backing.locator,
          'export-size': deviceSize,
          is_read_only: false,
          can_flush: true,
          can_fua: true,
          can_trim: true,
          can_zero: true,
          can_fast_zero: true,
          can_df: true,
          can_multi_conn: true,
          block_size_minimum: 1,
          block_size_preferred: 4096,
          block_size_maximum: 2 ** 25,
          contexts: ['base:allocation'],
        },
      ])
      expect(JSON.parse(await run('nbdinfo', '--map', '--json', uri))).toEqual([
        { offset: 0, length: deviceSize, type: 0, description: 'data' },
      ])
      expect(await run('nbdinfo', '--list', uri.replace('disk%201', ''))).toContain('export="disk 1"')
      expect(served.events[0]).toMatchObject({ size: deviceSize, export: 'disk 1', readOnly: false })
    })

    it('to qemu-img: converted to it and from it, all is the same', async () => {
      const image = sparseImage(folder)
      await run('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', image, uri)
      await run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, uri)
      const back = join(folder, 'back.qcow2')
      await run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', uri, back)
      await run('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', image, back)
      if (backing.image) execFileSync('cmp', [image, backing.image])
      // Zeroes were not stored, where the back-end hands unmapping on: this storage daemon does not.
      if (device.name === 'qemu') expect(statSync(String(backing.image)).blocks * 512).toBeLessThan(6 * 2 ** 20)
    })

    it('to nbdcopy: there and back by several connections, with an end that is no whole block', async () => {
      const image = sparseImage(folder)
      truncateSync(image, deviceSize - 2 ** 20 + 12_345)
      await run('nbdcopy', image, uri)
      const back = join(folder, 'back')
      await run('nbdcopy', uri, back)
      execFileSync('cmp', ['-n', String(deviceSize - 2 ** 20 + 12_345), image, back])
      expect(statSync(back).blocks * 512).toBeLessThan(6 * 2 ** 20)
      if (backing.image) execFileSync('cmp', [back, backing.image])
      expect(served.events.filter(({ event }) => event === 'connected').length).toBeGreaterThan(2)
    })

    it('with a file system: ext4 made in a file, copied there, read back and checked', async () => {
      const tree = join(folder, 'tree')
      mkdirSync(tree)
      cpSync(sources, tree, { recursive: true })
      const image = emptyImage(folder)
      await run('mkfs.ext4', '-q', '-d', tree, image)
      await run('nbdcopy', image, uri)
      const back = join(folder, 'back')
      await run('nbdcopy', uri, back)
      expect(await run('fsck.ext4', '-fn', back)).toContain('files')
      execFileSync('cmp', [image, back])
      const dumped = join(folder, 'dumped')
      await run('debugfs', '-R', `dump /errors.md ${dumped}`, back)
      execFileSync('cmp', [join(sources, 'errors.md'), dumped])
    })
  })

  requirement(
    ...needs,
    'root',
    'nbdfuse',
    'fusermount3',
  )(`a file system is made right on the disk, ${device.name}`, () => {
    it.each(['1024', '4096'])('by mkfs.ext4 with blocks of %s through nbdfuse, and passes fsck', async (blockSize) => {
      const folder = mkdtempSync(join(tmpdir(), 'blkd-fuse-'))
      const backing = await device.make(folder)
      const mount = join(folder, 'mount')
      mkdirSync(mount)
      await using served = await RunningBlkd.serve(backing.locator, join(folder, 'nbd'))
      const fuse = spawn('setpriv', ['--pdeathsig', 'KILL', 'nbdfuse', mount, served.uri])
      const ended = new Promise((resolve) => fuse.on('close', resolve))
      try {
        const disk = join(mount, 'nbd')
        while (spawnSync('test', ['-s', disk]).status !== 0) {
          if (fuse.exitCode !== null) throw new Error('nbdfuse ended')
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
        await run('mkfs.ext4', '-q', '-F', '-b', blockSize, '-d', sources, disk)
        expect(await run('fsck.ext4', '-fn', disk)).toContain('files')
      } finally {
        await run('fusermount3', '-u', mount)
        await ended
      }
      expect(await served.stop()).toBe(0)
      // What the device has under it is the same file system.
      if (backing.image) expect(await run('fsck.ext4', '-fn', backing.image)).toContain('files')
      await backing.daemon?.kill()
      rmSync(folder, { recursive: true })
    })
  })
}
