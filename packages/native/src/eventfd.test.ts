import { describe, expect, it } from 'vitest'
import { Errno } from './errno.ts'
import { eventfd } from './eventfd.ts'
import { close, read, write } from './file-descriptor.ts'

describe('eventfd', () => {
  it('adds up what is written and gives it out once', () => {
    const fd = eventfd()
    const count = new Uint8Array(8)
    expect(read(fd, count)).toBe(-Errno.EAGAIN)
    write(fd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
    write(fd, Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0))
    expect(read(fd, count)).toBe(8)
    expect([...count]).toEqual([3, 0, 0, 0, 0, 0, 0, 0])
    expect(read(fd, count)).toBe(-Errno.EAGAIN)
    close(fd)
  })

  it('does not block when it is full', () => {
    const fd = eventfd()
    write(fd, Uint8Array.of(0xfe, 255, 255, 255, 255, 255, 255, 255))
    expect(write(fd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))).toBe(-Errno.EAGAIN)
    close(fd)
  })

  it('takes 8 bytes and no fewer', () => {
    const fd = eventfd()
    expect(write(fd, Uint8Array.of(1))).toBe(-Errno.EINVAL)
    expect(read(fd, new Uint8Array(7))).toBe(-Errno.EINVAL)
    close(fd)
  })
})
