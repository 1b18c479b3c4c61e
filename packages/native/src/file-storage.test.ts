import { constants, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { close, open } from './file-descriptor.ts'
import { punchHole, syncData } from './file-storage.ts'

const LENGTH = 256 * 1024
let folder = ''
let fd = -1
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtio-ts-storage-'))
  writeFileSync(join(folder, 'file'), new Uint8Array(LENGTH).fill(7))
  fd = open(join(folder, 'file'), constants.O_RDWR)
})
afterEach(() => {
  close(fd)
  rmSync(folder, { recursive: true })
})

describe('storage of a file', () => {
  it('is given back by a hole, and only there', () => {
    const path = join(folder, 'file')
    syncData(fd)
    const before = statSync(path).blocks
    punchHole(fd, 65536, 131072)
    const { blocks, size } = statSync(path)
    expect(size).toBe(LENGTH)
    expect((before - blocks) * 512).toBe(131072)
    const bytes = readFileSync(path)
    expect([bytes[65535], bytes[65536], bytes[65536 + 131071], bytes[65536 + 131072]]).toEqual([7, 0, 0, 7])
  })

  it('says why it cannot', () => {
    expect(() => punchHole(fd, 0, 0)).toThrow(expect.objectContaining({ code: 'EINVAL', syscall: 'fallocate' }))
    expect(() => syncData(-1)).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'fdatasync' }))
  })
})
