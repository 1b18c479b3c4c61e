import { describe, expect, it } from 'vitest'
import { close, write } from './file-descriptor.ts'
import { ioctl } from './ioctl.ts'
import { socketPair } from './socket.ts'

// asm-generic/ioctls.h: bytes waiting to be read, in an int
const FIONREAD = 0x541b
// linux/if_tun.h: _IOR('T', 210, unsigned int), whose number says 4 bytes
const TUNGETIFF = 0x800454d2

describe('ioctl', () => {
  it('fills in the structure it is given', () => {
    const [a, b] = socketPair()
    write(a, new Uint8Array(300))
    const count = new Uint8Array(4)
    expect(ioctl(b, FIONREAD, count)).toBe(0)
    expect(new DataView(count.buffer).getInt32(0, true)).toBe(300)
    close(a)
    close(b)
  })

  it('says which request failed on what', () => {
    expect(() => ioctl(100_000, FIONREAD, new Uint8Array(4))).toThrow(
      expect.objectContaining({ code: 'EBADF', syscall: 'ioctl(0x541b)', message: expect.stringContaining('100000') }),
    )
    const [a, b] = socketPair()
    expect(() => ioctl(a, TUNGETIFF, new Uint8Array(4))).toThrow(expect.objectContaining({ code: 'ENOTTY' }))
    expect(() => ioctl(a, 0x5499, 3)).toThrow(expect.objectContaining({ code: 'ENOTTY' }))
    close(a)
    close(b)
  })

  it('refuses a structure that is smaller than the request says', () => {
    expect(() => ioctl(100_000, TUNGETIFF, new Uint8Array(3))).toThrow(RangeError)
  })
})
