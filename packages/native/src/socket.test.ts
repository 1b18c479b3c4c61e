import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Errno } from './errno.ts'
import { close, openFdCount, read, write } from './file-descriptor.ts'
import {
  AddressFamily,
  acceptUnix,
  bindSocket,
  connectUnix,
  listenUnix,
  SocketType,
  socket,
  socketPair,
} from './socket.ts'

let folder: string
let path: string
let before: number

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'native-'))
  path = join(folder, 'socket')
  before = openFdCount()
})

afterEach(() => {
  assert.equal(openFdCount(), before, 'descriptors left open')
  rmSync(folder, { recursive: true })
})

describe('socketPair', () => {
  it('connects two sockets both ways, and neither blocks', () => {
    const [a, b] = socketPair()
    const into = new Uint8Array(4)
    expect(read(a, into)).toBe(-Errno.EAGAIN)
    write(a, Uint8Array.of(1))
    write(b, Uint8Array.of(2))
    expect(read(b, into)).toBe(1)
    expect(read(a, into)).toBe(1)
    expect(into[0]).toBe(2)
    close(a)
    close(b)
  })
})

describe('connectUnix, listenUnix and acceptUnix', () => {
  it('bring two sockets together', () => {
    const listening = listenUnix(path)
    expect(acceptUnix(listening)).toBeUndefined()
    const front = connectUnix(path)
    const back = acceptUnix(listening) as number
    write(front, Uint8Array.of(7))
    const into = new Uint8Array(2)
    expect(read(back, into)).toBe(1)
    expect(into[0]).toBe(7)
    expect(read(back, into)).toBe(-Errno.EAGAIN)
    for (const fd of [front, back, listening]) close(fd)
  })

  it('say why there is no connection', () => {
    expect(() => connectUnix(path)).toThrow(
      expect.objectContaining({ code: 'ENOENT', message: expect.stringContaining(`connect ${path}`) }),
    )
    close(listenUnix(path))
    expect(() => connectUnix(path)).toThrow(expect.objectContaining({ code: 'ECONNREFUSED' }))
    expect(() => listenUnix(path)).toThrow(expect.objectContaining({ code: 'EADDRINUSE', syscall: 'bind' }))
  })

  it('do not wait when too many are waiting already', () => {
    const listening = listenUnix(path, 0)
    const connected = [connectUnix(path)]
    expect(() => {
      for (let i = 0; i < 10; i++) connected.push(connectUnix(path))
    }).toThrow(expect.objectContaining({ code: 'EAGAIN' }))
    for (const fd of [...connected, listening]) close(fd)
  })

  it('take paths of up to 107 bytes', () => {
    const long = join(folder, 'x'.repeat(106 - folder.length))
    expect(long).toHaveLength(107)
    const listening = listenUnix(long)
    close(connectUnix(long))
    close(listening)
    for (const wrong of [`${long}x`, '', 'a\0b']) {
      expect(() => connectUnix(wrong)).toThrow(RangeError)
      expect(() => listenUnix(wrong)).toThrow(RangeError)
    }
  })

  it('say that a descriptor does not listen', () => {
    const [a, b] = socketPair()
    expect(() => acceptUnix(a)).toThrow(expect.objectContaining({ code: 'EINVAL', syscall: 'accept4' }))
    close(a)
    close(b)
  })
})

describe('socket and bindSocket', () => {
  it('make a socket of any family', () => {
    const fd = socket(AddressFamily.INET, SocketType.DATAGRAM)
    expect(read(fd, new Uint8Array(1))).toBe(-Errno.EAGAIN)
    // struct sockaddr_in: family, port, 127.0.0.1
    bindSocket(fd, Uint8Array.of(2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0))
    expect(() => bindSocket(fd, new Uint8Array(2))).toThrow(
      expect.objectContaining({ code: 'EINVAL', syscall: 'bind' }),
    )
    close(fd)
  })

  it('say that a family is unknown', () => {
    expect(() => socket(999, SocketType.STREAM)).toThrow(expect.objectContaining({ code: 'EAFNOSUPPORT' }))
  })
})
