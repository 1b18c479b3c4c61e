import { describe, expect, it } from 'vitest'
import { Epoll } from './epoll.ts'
import { eventfd } from './eventfd.ts'
import { close, open, openFdCount, read, write } from './file-descriptor.ts'
import { socketPair } from './socket.ts'

const ONE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)

describe('Epoll', () => {
  it('reports the tokens of what is readable, and only that', () => {
    const epoll = new Epoll()
    const [a, b, c] = [eventfd(), eventfd(), eventfd()]
    epoll.add(a, 1)
    epoll.add(b, -2)
    epoll.add(c, 0x7fff_ffff)
    const tokens = new Int32Array(8)
    expect(epoll.wait(0, tokens)).toBe(0)
    write(b, ONE)
    write(c, ONE)
    expect(epoll.wait(-1, tokens)).toBe(2)
    expect(new Set(tokens.subarray(0, 2))).toEqual(new Set([-2, 0x7fff_ffff]))
    read(b, new Uint8Array(8))
    expect(epoll.wait(0, tokens)).toBe(1)
    expect(tokens[0]).toBe(0x7fff_ffff)
    epoll.remove(c)
    expect(epoll.wait(0, tokens)).toBe(0)
    epoll.close()
    for (const fd of [a, b, c]) close(fd)
  })

  it('reports no more than there is room for, and the rest next time', () => {
    const epoll = new Epoll()
    const fds = Array.from({ length: 70 }, () => eventfd())
    fds.forEach((fd, i) => {
      epoll.add(fd, i)
      write(fd, ONE)
    })
    const few = new Int32Array(3)
    const seen = new Set<number>()
    for (let i = 0; i < 40; i++) {
      const count = epoll.wait(0, few)
      expect(count).toBe(3)
      for (const token of few) seen.add(token)
    }
    expect(seen.size).toBe(70)
    expect(epoll.wait(0, new Int32Array(100))).toBe(64)
    epoll.close()
    for (const fd of fds) close(fd)
  })

  it('reports a peer that has gone', () => {
    const epoll = new Epoll()
    const [a, b] = socketPair()
    epoll.add(b, 5)
    close(a)
    const tokens = new Int32Array(1)
    expect(epoll.wait(0, tokens)).toBe(1)
    expect(tokens[0]).toBe(5)
    epoll.close()
    close(b)
  })

  it('says why a descriptor cannot be added or removed', () => {
    const epoll = new Epoll()
    const fd = eventfd()
    const file = open('/proc/self/exe', 0)
    epoll.add(fd, 0)
    expect(() => epoll.add(fd, 1)).toThrow(expect.objectContaining({ code: 'EEXIST', syscall: 'epoll_ctl(ADD)' }))
    expect(() => epoll.add(file, 1)).toThrow(expect.objectContaining({ code: 'EPERM' }))
    expect(() => epoll.add(100_000, 1)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    epoll.remove(fd)
    expect(() => epoll.remove(fd)).toThrow(expect.objectContaining({ code: 'ENOENT' }))
    epoll.close()
    close(fd)
    close(file)
  })

  it('is of no use after close, and leaves nothing open', () => {
    const before = openFdCount()
    const epoll = new Epoll()
    epoll.close()
    epoll.close()
    expect(openFdCount()).toBe(before)
    for (const use of [() => epoll.add(0, 0), () => epoll.remove(0), () => epoll.wait(0, new Int32Array(1))]) {
      expect(use).toThrow(expect.objectContaining({ code: 'EBADF' }))
    }
  })

  it('needs room for at least one token', () => {
    const epoll = new Epoll()
    expect(() => epoll.wait(0, new Int32Array(0))).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    epoll.close()
  })
})
