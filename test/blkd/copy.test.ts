import { createHash, randomFillSync } from 'node:crypto'
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { blkd, RunningBlkd } from '../support/running-blkd.ts'
import { deviceSize, emptyImage, servableDevices } from '../support/served-devices.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'blkd-copy-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const hash = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

function noisyFile(path: string, size: number, places: readonly number[]): void {
  const file = openSync(path, 'w')
  for (const offset of places) writeSync(file, randomFillSync(Buffer.alloc(300_000)), 0, 300_000, offset)
  closeSync(file)
  truncateSync(path, size)
}

for (const device of servableDevices.slice(1)) {
  const needs = device.name === 'qemu' ? ['qemu', 'setpriv'] : ['qemu-storage-daemon', 'setpriv']
  requirement(...needs)(`blkd copy, ${device.name}`, () => {
    it('a file onto a device and back: the same, and as sparse', async () => {
      const backing = await device.make(folder)
      const [from, back] = [join(folder, 'from'), join(folder, 'back')]
      noisyFile(from, deviceSize, [0, 10 * 2 ** 20 + 100, deviceSize - 300_000])
      const there = blkd('copy', from, backing.locator, '--json')
      expect(there).toMatchObject({ code: 0, stderr: '' })
      const result = JSON.parse(there.stdout)
      expect(result).toMatchObject({ from, to: backing.locator, bytes: deviceSize })
      expect(result.data + result.zeroes).toBe(deviceSize)
      expect(result.data).toBeLessThan(2 * 2 ** 20)
      expect(hash(String(backing.image))).toBe(hash(from))
      writeFileSync(back, 'what was there before', { mode: 0o640 })
      expect(blkd('copy', backing.locator, back)).toMatchObject({
        code: 0,
        stdout: '',
        stderr: expect.stringContaining('copied'),
      })
      expect(hash(back)).toBe(hash(from))
      expect(statSync(back).blocks * 512).toBeLessThan(2 * 2 ** 20)
      expect(statSync(back).mode & 0o777).toBe(0o640)
      await backing.daemon?.kill()
    })

    it('a short file with an odd end: what is behind it on the device stays', async () => {
      const backing = await device.make(folder)
      const before = randomFillSync(Buffer.alloc(deviceSize))
      writeFileSync(String(backing.image), before)
      const from = join(folder, 'from')
      noisyFile(from, 2 ** 20 + 777, [0, 600_000])
      expect(blkd('copy', from, backing.locator).code).toBe(0)
      const after = readFileSync(String(backing.image))
      expect(after.subarray(0, 2 ** 20 + 777).equals(readFileSync(from))).toBe(true)
      expect(after.subarray(2 ** 20 + 777).equals(before.subarray(2 ** 20 + 777))).toBe(true)
      await backing.daemon?.kill()
    })

    it('refuses what does not fit, is not there, or is no file', async () => {
      const backing = await device.make(folder)
      const large = emptyImage(folder, deviceSize + 512)
      expect(blkd('copy', large, backing.locator)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('a larger device'),
      })
      expect(blkd('copy', join(folder, 'nope'), backing.locator)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('ENOENT'),
      })
      expect(blkd('copy', backing.locator, '/dev/null')).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('left alone'),
      })
      expect(blkd('copy', backing.locator, join(folder, 'no', 'folder')).code).toBe(1)
      await backing.daemon?.kill()
    })
  })
}

requirement('setpriv')('blkd copy, interrupted', () => {
  it('leaves nothing of the file, keeps what was there, and does not end with 0', async () => {
    const to = join(folder, 'to')
    writeFileSync(to, 'precious')
    await using copying = new RunningBlkd(['copy', 'model:block,size=64G', to])
    while (readdirSync(folder).length === 1) await new Promise((resolve) => setTimeout(resolve, 10))
    copying.child.kill('SIGINT')
    expect((await copying.ended).code).toBe(1)
    expect(copying.stderr).toMatch(/^blkd: interrupted after \d+ of 68719476736 bytes\n {2}nothing of .*\n {2}fix: /)
    expect(readdirSync(folder)).toEqual(['to'])
    expect(readFileSync(to, 'utf8')).toBe('precious')
  })
})

requirement('qemu', 'setpriv')('blkd copy onto a device, interrupted', () => {
  it('says that the device was overwritten in part', async () => {
    const [from, image] = [emptyImage(folder, 64 * 2 ** 30), emptyImage(folder, 64 * 2 ** 30)]
    // Zeroes are written as such there, so that the image shows when the copy has begun.
    const to = `qemu:virtio-blk-pci,write-zeroes=off;drive=${image}`
    await using copying = new RunningBlkd(['copy', from, to])
    while (statSync(image).blocks === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    copying.child.kill('SIGINT')
    expect((await copying.ended).code).toBe(1)
    expect(copying.stderr).toContain('overwritten in part')
  })
})
