import { constants, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runSource } from '../test/run-source.ts'
import { Errno } from './errno.ts'
import { eventfd } from './eventfd.ts'
import { close, duplicate, open, openFdCount, read, readAt, setBlocking, write, writeAt } from './file-descriptor.ts'
import { memfdCreate } from './memfd.ts'
import { socketPair } from './socket.ts'

const NOT_OPEN = 100_000

describe('open and close', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'native-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('makes a file that only its owner may read', () => {
    const path = join(folder, 'file')
    close(open(path, constants.O_RDWR | constants.O_CREAT))
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('says what failed, on what, and why', () => {
    expect(() => open('/nowhere/at/all', constants.O_RDONLY)).toThrow(
      expect.objectContaining({
        name: 'SystemError',
        code: 'ENOENT',
        errno: Errno.ENOENT,
        syscall: 'open',
        message: 'open /nowhere/at/all: ENOENT (No such file or directory)',
      }),
    )
  })

  it('refuses to close what is not open', () => {
    expect(() => close(NOT_OPEN)).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'close' }))
    const fd = eventfd()
    close(fd)
    expect(() => close(fd)).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })

  it('names the limit to raise when a process has too many files open', async () => {
    const child = await runSource(`
      import { execFileSync } from 'node:child_process'
      import { constants } from 'node:fs'
      import { open } from '@virtio-ts/native'
      open('/dev/null', constants.O_RDONLY)
      execFileSync('prlimit', ['--pid', String(process.pid), '--nofile=64:64'])
      try { for (;;) open('/dev/null', constants.O_RDONLY) } catch (error) { process.stdout.write(error.message) }
    `)
    expect(child.stdout).toMatch(/^open \/dev\/null: EMFILE .*ulimit -n/)
  })
})

describe('read and write', () => {
  it('move bytes at an offset within the array', () => {
    const [a, b] = socketPair()
    expect(write(a, Uint8Array.of(1, 2, 3, 4, 5), 1, 3)).toBe(3)
    const into = new Uint8Array(6)
    expect(read(b, into, 2)).toBe(3)
    expect([...into]).toEqual([0, 0, 2, 3, 4, 0])
    close(a)
    expect(read(b, into)).toBe(0)
    close(b)
  })

  it('move bytes of a view that begins inside its buffer', () => {
    const [a, b] = socketPair()
    const buffer = Uint8Array.of(9, 9, 7, 8, 9, 9)
    expect(write(a, buffer.subarray(2, 4))).toBe(2)
    const into = new Uint8Array(6)
    expect(read(b, into.subarray(3, 5))).toBe(2)
    expect([...into]).toEqual([0, 0, 0, 7, 8, 0])
    close(a)
    close(b)
  })

  it('return the error number negated and do not throw', () => {
    const [a, b] = socketPair()
    expect(read(b, new Uint8Array(1))).toBe(-Errno.EAGAIN)
    expect(read(NOT_OPEN, new Uint8Array(1))).toBe(-Errno.EBADF)
    expect(write(NOT_OPEN, new Uint8Array(1))).toBe(-Errno.EBADF)
    const big = new Uint8Array(1 << 20)
    while (write(a, big) > 0);
    expect(write(a, big)).toBe(-Errno.EAGAIN)
    close(a)
    close(b)
  })

  it('refuse a stretch outside the array: the kernel would not know', () => {
    const bytes = new Uint8Array(4)
    for (const [offset, length] of [[5], [0, 5], [3, 2], [-1, 1], [0, -1], [0.5, 1], [0, Number.NaN]]) {
      expect(() => read(NOT_OPEN, bytes, offset, length)).toThrow(RangeError)
      expect(() => write(NOT_OPEN, bytes, offset, length)).toThrow(RangeError)
    }
    expect(read(NOT_OPEN, bytes, 4)).toBe(-Errno.EBADF)
  })
})

describe('readAt and writeAt', () => {
  it('leave the position of the file alone', () => {
    const fd = memfdCreate('positions')
    expect(writeAt(fd, Uint8Array.of(1, 2, 3), 10)).toBe(3)
    const into = new Uint8Array(2)
    expect(readAt(fd, into, 11)).toBe(2)
    expect([...into]).toEqual([2, 3])
    expect(readAt(fd, into, 13)).toBe(0)
    expect(read(fd, into)).toBe(2)
    expect([...into]).toEqual([0, 0])
    close(fd)
  })

  it('reach positions beyond 4 GiB', () => {
    const fd = memfdCreate('large')
    const position = 6 * 1024 ** 3 + 5
    expect(writeAt(fd, Uint8Array.of(42), position)).toBe(1)
    const into = new Uint8Array(1)
    expect(readAt(fd, into, position)).toBe(1)
    expect(into[0]).toBe(42)
    close(fd)
  })

  it('return the error number negated and do not throw', () => {
    const [a, b] = socketPair()
    expect(readAt(a, new Uint8Array(1), 0)).toBe(-Errno.ESPIPE)
    expect(writeAt(a, new Uint8Array(1), 0)).toBe(-Errno.ESPIPE)
    expect(writeAt(NOT_OPEN, new Uint8Array(1), -1)).toBe(-Errno.EINVAL)
    close(a)
    close(b)
  })
})

describe('duplicate and setBlocking', () => {
  it('act on the same open file', () => {
    const [a, b] = socketPair()
    const again = duplicate(b)
    expect(again).not.toBe(b)
    write(a, Uint8Array.of(5))
    const into = new Uint8Array(1)
    expect(read(again, into)).toBe(1)
    expect(read(b, into)).toBe(-Errno.EAGAIN)

    setBlocking(again, true)
    write(a, Uint8Array.of(6))
    expect(read(b, into)).toBe(1)
    setBlocking(b, false)
    expect(read(again, into)).toBe(-Errno.EAGAIN)
    for (const fd of [a, b, again]) close(fd)
  })

  it('say when the descriptor is not open', () => {
    expect(() => duplicate(NOT_OPEN)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => setBlocking(NOT_OPEN, true)).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })
})

describe('openFdCount', () => {
  it('counts what is open', () => {
    const before = openFdCount()
    const fd = eventfd()
    expect(openFdCount()).toBe(before + 1)
    close(fd)
    expect(openFdCount()).toBe(before)
  })
})
