import {
  constants,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { close, open, openFdCount } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FileStore } from './file-store.ts'

let folder = ''
let path = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtio-ts-store-'))
  path = join(folder, 'image')
  writeFileSync(path, new Uint8Array(512 * 2048))
})
afterEach(() => rmSync(folder, { recursive: true }))

const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, n) => (n * 7 + 1) & 0xff)

function leadsTo(fd: number, path: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === path
  } catch {
    return false
  }
}

describe('a store in a file', () => {
  it('keeps what is written where it belongs', () => {
    const store = FileStore.open(path)
    expect(store.sectors).toBe(2048)
    store.write(3, bytes(1024))
    expect(store.read(3, 1024)).toEqual(bytes(1024))
    store.flush()
    store.close()
    expect(new Uint8Array(readFileSync(path).subarray(3 * 512, 5 * 512))).toEqual(bytes(1024))
    expect(FileStore.open(path).read(2, 512)).toEqual(new Uint8Array(512))
  })

  it('zeroes a range, and gives storage back where it may', () => {
    const store = FileStore.open(path)
    store.write(0, bytes(2048 * 512))
    store.flush()
    const full = store.allocated
    store.zero(128, 1024 * 512, false)
    store.flush()
    expect(store.allocated).toBe(full)
    expect(store.read(128, 1024 * 512).every((byte) => byte === 0)).toBe(true)
    store.write(128, bytes(512))
    store.zero(128, 1024 * 512, true)
    expect(full - store.allocated).toBe(1024 * 512)
    expect(store.read(128, 512)).toEqual(new Uint8Array(512))
    expect(store.read(127, 512)).toEqual(bytes(2048 * 512).subarray(127 * 512, 128 * 512))
    expect(store.read(1152, 512)).toEqual(bytes(2048 * 512).subarray(1152 * 512, 1153 * 512))
    store.zero(0, 0, true)
    store.close()
  })

  it('follows the size of the file', () => {
    const store = FileStore.open(path)
    truncateSync(path, 100 * 512 + 17)
    expect(store.sectors).toBe(100)
    // What was cut off is gone, not an endless loop.
    expect(store.read(99, 1024)).toEqual(new Uint8Array(1024))
    store.close()
  })

  it('tells of what went wrong, each time once a flush has failed', () => {
    const before = openFdCount()
    const store = FileStore.open(path, { readOnly: true })
    expect(() => store.write(0, bytes(512))).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => store.zero(0, 512, true)).toThrow(expect.objectContaining({ syscall: 'fallocate' }))
    // The descriptor is taken away for a moment, which is the way to have fdatasync fail.
    const fd = Number(readdirSync('/proc/self/fd').find((name) => leadsTo(Number(name), path)))
    close(fd)
    expect(() => store.flush()).toThrow(expect.objectContaining({ syscall: 'fdatasync' }))
    expect(open(path, constants.O_RDONLY)).toBe(fd)
    expect(() => store.flush()).toThrow(expect.objectContaining({ syscall: 'fdatasync' }))
    expect(() => store.close()).toThrow(expect.objectContaining({ syscall: 'fdatasync' }))
    store.close()
    expect(openFdCount()).toBe(before)
  })

  it('is of a regular file only', () => {
    const before = openFdCount()
    expect(() => FileStore.open('/dev/zero')).toThrow(RangeError)
    expect(() => FileStore.open(join(folder, 'nothing'))).toThrow(expect.objectContaining({ code: 'ENOENT' }))
    expect(openFdCount()).toBe(before)
  })
})
