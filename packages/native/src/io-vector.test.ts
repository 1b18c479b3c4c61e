import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Errno } from './errno.ts'
import { close, read, write } from './file-descriptor.ts'
import { IoVector } from './io-vector.ts'
import { addressOf, type Mapping, mapShared } from './mapping.ts'
import { memfdCreate, truncate } from './memfd.ts'
import { socketPair } from './socket.ts'

describe('IoVector', () => {
  let memory: number
  let mapping: Mapping
  let a: number
  let b: number

  beforeAll(() => {
    memory = memfdCreate('vector')
    truncate(memory, 65536)
    mapping = mapShared(memory, 65536)
    ;[a, b] = socketPair()
  })
  afterAll(() => {
    mapping.unmap()
    for (const fd of [memory, a, b]) close(fd)
  })

  it('writes its pieces in order', () => {
    mapping.bytes.set([1, 2, 3, 4, 5, 6, 7, 8])
    const vector = new IoVector(4)
    vector.append(mapping.address + 6, 2)
    vector.append(mapping.address, 3)
    expect(vector.count).toBe(2)
    expect(vector.writeTo(a)).toBe(5)
    const into = new Uint8Array(10)
    expect(read(b, into)).toBe(5)
    expect([...into.subarray(0, 5)]).toEqual([7, 8, 1, 2, 3])
  })

  it('reads into its pieces in order', () => {
    const heap = new Uint8Array(1024)
    const vector = new IoVector(2)
    vector.append(mapping.address + 1000, 2)
    vector.append(addressOf(heap.subarray(10)), 10)
    write(a, Uint8Array.of(1, 2, 3, 4))
    expect(vector.readFrom(b)).toBe(4)
    expect([...mapping.bytes.subarray(1000, 1003)]).toEqual([1, 2, 0])
    expect([...heap.subarray(9, 13)]).toEqual([0, 3, 4, 0])
  })

  it('can be cleared and used again', () => {
    mapping.bytes.set([1, 2, 3])
    const vector = new IoVector(1)
    vector.append(mapping.address, 1)
    vector.clear()
    expect(vector.count).toBe(0)
    vector.append(mapping.address + 2, 1)
    expect(vector.writeTo(a)).toBe(1)
    const into = new Uint8Array(2)
    expect(read(b, into)).toBe(1)
    expect(into[0]).toBe(3)
  })

  it('holds as many pieces as it was made for, and no more', () => {
    const vector = new IoVector(1024)
    for (let i = 0; i < 1024; i++) vector.append(mapping.address, 1)
    expect(() => vector.append(mapping.address, 1)).toThrow(RangeError)
    expect(vector.count).toBe(1024)
    expect(vector.writeTo(a)).toBe(1024)
    read(b, new Uint8Array(2048))
    for (const capacity of [0, 1025, 1.5, Number.NaN]) expect(() => new IoVector(capacity)).toThrow(RangeError)
  })

  it('returns the error number negated', () => {
    const vector = new IoVector(2)
    vector.append(mapping.address, 4)
    expect(vector.readFrom(b)).toBe(-Errno.EAGAIN)
    expect(vector.writeTo(100_000)).toBe(-Errno.EBADF)
    vector.clear()
    vector.append(8, 4)
    expect(vector.writeTo(a)).toBe(-Errno.EFAULT)
  })
})
