import { constants } from 'node:buffer'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, it } from 'vitest'
import { Errno } from './errno.ts'
import { close, open, readAt, writeAt } from './file-descriptor.ts'
import { addressOf, type Mapping, mapShared } from './mapping.ts'
import { memfdCreate, preallocate, sealAgainstResize, truncate } from './memfd.ts'
import { socketPair } from './socket.ts'

const LENGTH = 65536
const opened: number[] = []

function file(length = LENGTH): number {
  const fd = memfdCreate('mapping-test')
  opened.push(fd)
  truncate(fd, length)
  return fd
}

afterEach(() => {
  for (const fd of opened.splice(0)) close(fd)
})

/** Lines of /proc/self/maps that lie within a stretch of addresses. */
function mapsAt(address: number, length: number): string[] {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => {
      const [start, end] =
        line
          .split(' ', 1)[0]
          ?.split('-')
          .map((hex) => Number.parseInt(hex, 16)) ?? []
      return start !== undefined && end !== undefined && start < address + length && end > address
    })
}

describe('mapShared', () => {
  it('shows one file through every mapping and through read and write', () => {
    const fd = file()
    const one = mapShared(fd, LENGTH)
    const two = mapShared(fd, LENGTH)
    expect(one.address).not.toBe(two.address)
    one.bytes[100] = 7
    expect(two.bytes[100]).toBe(7)
    writeAt(fd, Uint8Array.of(8), 101)
    expect(one.bytes[101]).toBe(8)
    one.unmap()
    two.unmap()
  })

  it('maps a part of a file', () => {
    const fd = file(2 * LENGTH)
    const mapping = mapShared(fd, 100, LENGTH)
    expect(mapping.bytes.length).toBe(100)
    mapping.bytes[99] = 3
    const into = new Uint8Array(1)
    readAt(fd, into, LENGTH + 99)
    expect(into[0]).toBe(3)
    mapping.unmap()
  })

  it('outlives the descriptor', () => {
    const fd = memfdCreate('mapping-test')
    truncate(fd, LENGTH)
    const mapping = mapShared(fd, LENGTH)
    close(fd)
    mapping.bytes[0] = 1
    expect(mapping.bytes[0]).toBe(1)
    mapping.unmap()
  })

  it('takes Atomics, which order what the other side sees', () => {
    const mapping = mapShared(file(), LENGTH)
    const words = new Uint16Array(mapping.bytes.buffer)
    Atomics.store(words, 3, 0xabcd)
    expect(Atomics.load(words, 3)).toBe(0xabcd)
    expect(mapping.bytes[6]).toBe(0xcd)
    mapping.unmap()
  })

  it('refuses lengths that would abort the process, and numbers that are none', () => {
    const fd = file()
    for (const length of [0, -1, 1.5, Number.NaN, constants.MAX_LENGTH + 1]) {
      expect(() => mapShared(fd, length)).toThrow(RangeError)
    }
    for (const offset of [-1, 0.5, Number.NaN, 2 ** 53]) expect(() => mapShared(fd, LENGTH, offset)).toThrow(RangeError)
  })

  it('says why the system refuses', () => {
    const [a, b] = socketPair()
    opened.push(a, b)
    expect(() => mapShared(a, LENGTH)).toThrow(expect.objectContaining({ code: 'ENODEV', syscall: 'mmap' }))
    expect(() => mapShared(file(), LENGTH, 1)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => mapShared(100_000, LENGTH)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    const readOnly = open('/proc/self/exe', 0)
    opened.push(readOnly)
    expect(() => mapShared(readOnly, LENGTH)).toThrow(expect.objectContaining({ code: 'EACCES' }))
  })
})

describe('unmap', () => {
  it('cuts views off from the file instead of making them fatal', () => {
    const fd = file()
    const mapping = mapShared(fd, LENGTH)
    mapping.bytes.fill(9)
    mapping.unmap()
    mapping.unmap()
    expect(mapsAt(mapping.address, LENGTH).join()).not.toContain('mapping-test')
    expect(mapping.bytes[0]).toBe(0)
    mapping.bytes[0] = 5
    const into = new Uint8Array(1)
    readAt(fd, into, 0)
    expect(into[0]).toBe(9)
  })

  it('gives the addresses back when the last view is gone, and not before', async () => {
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    let mapping: Mapping | undefined = mapShared(file(), LENGTH)
    const { address } = mapping
    let view: Uint8Array | undefined = mapping.bytes.subarray(10, 20)
    mapping.unmap()
    mapping = undefined
    for (let i = 0; i < 5; i++) {
      collectGarbage()
      await turn()
    }
    expect(view?.[0]).toBe(0)
    expect(mapsAt(address, LENGTH)).toHaveLength(1)
    view = undefined
    for (let i = 0; i < 100 && mapsAt(address, LENGTH).length > 0; i++) {
      collectGarbage()
      await turn()
    }
    expect(mapsAt(address, LENGTH)).toEqual([])
  })

  it('does not run out of anything when repeated', () => {
    const fd = file()
    const lines = readFileSync('/proc/self/maps', 'utf8').split('\n').length
    for (let i = 0; i < 2000; i++) mapShared(fd, LENGTH).unmap()
    // What is not yet collected is anonymous memory side by side, which the kernel keeps as one.
    expect(readFileSync('/proc/self/maps', 'utf8').split('\n').length).toBeLessThan(lines + 100)
  })
})

describe('sealAgainstResize', () => {
  it('keeps a peer from truncating the file under our feet (a SIGBUS otherwise)', () => {
    const fd = file()
    sealAgainstResize(fd)
    const mapping = mapShared(fd, LENGTH)
    mapping.bytes[LENGTH - 1] = 42
    for (const size of ['0', String(2 * LENGTH)]) {
      const peer = spawnSync('truncate', ['-s', size, `/proc/${process.pid}/fd/${fd}`])
      expect(peer.status).not.toBe(0)
      expect(peer.stderr.toString()).toMatch(/not permitted/i)
    }
    expect(mapping.bytes[LENGTH - 1]).toBe(42)
    mapping.unmap()
  })

  it('binds us as well', () => {
    const fd = file()
    sealAgainstResize(fd)
    expect(() => truncate(fd, 0)).toThrow(expect.objectContaining({ code: 'EPERM', errno: Errno.EPERM }))
    expect(() => truncate(fd, LENGTH + 1)).toThrow(expect.objectContaining({ code: 'EPERM' }))
    expect(() => sealAgainstResize(fd)).toThrow(expect.objectContaining({ code: 'EPERM' }))
  })

  it('works on memfds only', () => {
    const [a, b] = socketPair()
    opened.push(a, b)
    expect(() => sealAgainstResize(a)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })
})

describe('memfd', () => {
  it('has the name that /proc shows, and no more than 249 bytes of it', () => {
    const fd = file()
    const mapping = mapShared(fd, LENGTH)
    expect(mapsAt(mapping.address, LENGTH).join()).toContain('/memfd:mapping-test')
    mapping.unmap()
    expect(() => memfdCreate('x'.repeat(250))).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })

  it('takes its memory when told to', () => {
    const blocks = (fd: number): number =>
      Number(spawnSync('stat', ['-L', '-c', '%b', `/proc/${process.pid}/fd/${fd}`]).stdout)
    const fd = file(16 * LENGTH)
    expect(blocks(fd)).toBe(0)
    preallocate(fd, 16 * LENGTH)
    expect(blocks(fd) * 512).toBe(16 * LENGTH)
  })

  it('says why a length is refused', () => {
    const fd = file()
    expect(() => truncate(fd, -1)).toThrow(expect.objectContaining({ code: 'EINVAL', syscall: 'ftruncate' }))
    expect(() => preallocate(fd, 0)).toThrow(expect.objectContaining({ code: 'EINVAL', syscall: 'fallocate' }))
    sealAgainstResize(fd)
    expect(() => preallocate(fd, LENGTH + 1)).toThrow(expect.objectContaining({ code: 'EPERM' }))
  })
})

describe('addressOf', () => {
  it('follows the offset of a view', () => {
    const mapping = mapShared(file(), LENGTH)
    expect(mapping.address % 4096).toBe(0)
    expect(addressOf(mapping.bytes)).toBe(mapping.address)
    expect(addressOf(mapping.bytes.subarray(100))).toBe(mapping.address + 100)
    mapping.unmap()
  })
})
