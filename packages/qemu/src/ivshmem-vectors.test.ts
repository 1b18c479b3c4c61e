import { close, openFdCount, read, receiveWithFds, write } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { IvshmemVectors } from './ivshmem-vectors.ts'

let before: number
let vectors: IvshmemVectors
/** QEMU's copies. */
let received: number[]
let childOpen: boolean
beforeEach(() => {
  before = openFdCount()
  vectors = new IvshmemVectors(4)
  received = []
  childOpen = true
})
afterEach(() => {
  vectors.close()
  vectors.close()
  for (const fd of childOpen ? [vectors.childFd, ...received] : received) close(fd)
  expect(openFdCount()).toBe(before)
})

/** The messages that QEMU would find, as numbers, with how many descriptors each brought. */
function messages(): [bigint, number][] {
  const all: [bigint, number][] = []
  // as QEMU does: one message at a time
  for (
    let next = receiveWithFds(vectors.childFd, 8, 1);
    next !== undefined;
    next = receiveWithFds(vectors.childFd, 8, 1)
  ) {
    received.push(...next.fds)
    all.push([new DataView(next.bytes.buffer, next.bytes.byteOffset).getBigInt64(0, true), next.fds.length])
  }
  return all
}

describe('IvshmemVectors', () => {
  it('tells the device its version, its identity, and its memory, before anything else', () => {
    expect(messages()).toEqual([
      [0n, 0],
      [1n, 0],
      [-1n, 1],
    ])
  })

  it('makes vectors when they are needed, and waits until QEMU must have taken them in', () => {
    messages()
    vectors.place(0xe000_0000)
    expect(vectors.address).toBe(0xe000_000c)
    let trips = 0
    const targets = vectors.acquire(3, () => trips++)
    // one message in a turn, and one turn for what was under way at either end
    expect(trips).toBe(5)
    expect(targets.map(({ data }) => data)).toEqual([0, 1, 2])
    expect(messages()).toEqual([
      [0n, 1],
      [0n, 1],
      [0n, 1],
    ])
    // QEMU's copy of the second signals ours
    write(received.at(-2) ?? -1, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
    const counts = targets.map(({ fd }) => read(fd, new Uint8Array(8)))
    expect(counts.map((count) => count > 0)).toEqual([false, true, false])
  })

  it('uses what comes back again, emptied, and makes only what is lacking', () => {
    messages()
    const first = vectors.acquire(2, () => {})
    expect(vectors.available).toBe(2)
    messages()
    write(received.at(-1) ?? -1, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
    vectors.release(first)
    expect(vectors.available).toBe(4)
    let trips = 0
    expect(vectors.acquire(2, () => trips++)).toEqual(first)
    expect(trips).toBe(0)
    expect(first.map(({ fd }) => read(fd, new Uint8Array(8)) > 0)).toEqual([false, false])
    expect(messages()).toEqual([])
    expect(() => vectors.acquire(3, () => {})).toThrowError(RangeError)
    vectors.acquire(2, () => {})
    expect(vectors.available).toBe(0)
  })

  it('says that QEMU has ended when nobody takes them', () => {
    messages()
    close(vectors.childFd)
    childOpen = false
    expect(() => vectors.acquire(1, () => {})).toThrowError(expect.objectContaining({ code: 'qemu.exited' }))
  })
})
