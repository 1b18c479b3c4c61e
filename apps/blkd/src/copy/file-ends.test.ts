import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openFileSource } from './file-source.ts'
import { openFileTarget } from './file-target.ts'

let folder = ''
let path = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'blkd-file-'))
  path = join(folder, 'disk.img')
})
afterEach(() => rmSync(folder, { recursive: true }))

it('puts a file there when it is complete, with holes for zeroes', async () => {
  const target = await openFileTarget(path, 1 << 20)
  await target.write(4096, Buffer.from('data'))
  await target.zero(8192, 4096)
  expect(existsSync(path)).toBe(false)
  await target.finish()
  expect(readdirSync(folder)).toEqual(['disk.img'])
  const bytes = readFileSync(path)
  expect([bytes.length, bytes.toString('latin1', 4096, 4100)]).toEqual([1 << 20, 'data'])
  expect(statSync(path).blocks * 512).toBeLessThan(65536)
})

it('keeps what was there until then, its mode, and links to it', async () => {
  writeFileSync(path, 'before', { mode: 0o600 })
  const link = join(folder, 'link')
  symlinkSync(path, link)
  const target = await openFileTarget(link, 512)
  expect(readFileSync(path, 'utf8')).toBe('before')
  await target.finish()
  expect([statSync(path).size, statSync(path).mode & 0o777, readFileSync(link).length]).toEqual([512, 0o600, 512])
  const abandoned = await openFileTarget(path, 1024)
  expect(await abandoned.abandon()).toBeUndefined()
  expect([statSync(path).size, readdirSync(folder).sort()]).toEqual([512, ['disk.img', 'link']])
})

it('refuses everything but files', async () => {
  await expect(openFileTarget(folder, 512)).rejects.toMatchObject({ code: 'copy.not-a-file' })
  await expect(openFileTarget('/dev/null', 512)).rejects.toMatchObject({ code: 'copy.not-a-file' })
  await expect(openFileSource('/dev/zero')).rejects.toMatchObject({ code: 'copy.not-a-file' })
  await expect(openFileSource(path)).rejects.toMatchObject({ code: 'ENOENT' })
})

it('reads any part of a file, and says when it became shorter', async () => {
  writeFileSync(path, 'abcdefgh')
  const { source, close } = await openFileSource(path)
  expect([source.size, Buffer.from(await source.read(2, 3)).toString()]).toEqual([8, 'cde'])
  writeFileSync(path, 'ab')
  await expect(source.read(1, 4)).rejects.toMatchObject({ code: 'copy.shrunk' })
  await close()
})
