import assert from 'node:assert/strict'
import { readlinkSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runSource } from '../test/run-source.ts'
import { Errno } from './errno.ts'
import { eventfd } from './eventfd.ts'
import { receiveWithFds, sendWithFds } from './fd-passing.ts'
import { close, openFdCount, read, setBlocking, write } from './file-descriptor.ts'
import { mapShared } from './mapping.ts'
import { memfdCreate, truncate } from './memfd.ts'
import { socketPair } from './socket.ts'

let before: number
let here: number
let there: number

beforeEach(() => {
  before = openFdCount()
  ;[here, there] = socketPair()
})

afterEach(() => {
  close(here)
  close(there)
  assert.equal(openFdCount(), before, 'descriptors left open')
})

describe('sendWithFds and receiveWithFds', () => {
  it('pass bytes alone', () => {
    expect(sendWithFds(here, Uint8Array.of(1, 2, 3), [])).toBe(3)
    expect(receiveWithFds(there, 10, 4)).toEqual({ bytes: Uint8Array.of(1, 2, 3), fds: [] })
    expect(receiveWithFds(there, 10, 4)).toBeUndefined()
  })

  it('pass descriptors: copies of the same open file, not inherited', () => {
    const event = eventfd()
    expect(sendWithFds(here, Uint8Array.of(9), [event, here])).toBe(1)
    const { bytes, fds } = receiveWithFds(there, 1, 8) ?? { bytes: undefined, fds: [] }
    expect(bytes).toEqual(Uint8Array.of(9))
    expect(fds).toHaveLength(2)
    const [copy, socket] = fds as [number, number]
    expect([event, here]).not.toContain(copy)
    expect(readlinkSync(`/proc/self/fd/${socket}`)).toBe(readlinkSync(`/proc/self/fd/${here}`))

    write(copy, Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0))
    const count = new Uint8Array(8)
    expect(read(event, count)).toBe(8)
    expect(count[0]).toBe(5)
    for (const fd of [event, copy, socket]) close(fd)
  })

  it.each([1, 2, 3, 8, 253])('pass %i descriptors', (number) => {
    const fds = Array.from({ length: number }, () => eventfd())
    fds.forEach((fd, i) => {
      write(fd, Uint8Array.of(i + 1, 0, 0, 0, 0, 0, 0, 0))
    })
    expect(sendWithFds(here, Uint8Array.of(1), fds)).toBe(1)
    const received = receiveWithFds(there, 1, number)?.fds ?? []
    const counts = received.map((fd) => {
      const count = new Uint8Array(8)
      read(fd, count)
      return count[0]
    })
    expect(counts).toEqual(fds.map((_, i) => i + 1))
    for (const fd of [...fds, ...received]) close(fd)
  })

  it.each([
    [1, 0],
    [2, 1],
    [4, 3],
    [253, 8],
  ])('close every one of %i descriptors where %i were expected', (sent, expected) => {
    const event = eventfd()
    sendWithFds(
      here,
      Uint8Array.of(1),
      Array.from({ length: sent }, () => event),
    )
    const open = openFdCount()
    expect(() => receiveWithFds(there, 1, expected)).toThrow(
      expect.objectContaining({
        code: 'EMSGSIZE',
        message: expect.stringContaining(`${sent} descriptors where ${expected}`),
      }),
    )
    expect(openFdCount()).toBe(open)
    close(event)
  })

  it('keep the descriptors with the bytes they were sent with', () => {
    const event = eventfd()
    sendWithFds(here, Uint8Array.of(1, 1), [])
    sendWithFds(here, Uint8Array.of(2, 2), [event])
    const first = receiveWithFds(there, 2, 1)
    const second = receiveWithFds(there, 2, 1)
    expect(first).toEqual({ bytes: Uint8Array.of(1, 1), fds: [] })
    expect(second?.fds).toHaveLength(1)
    for (const fd of [event, ...(second?.fds ?? [])]) close(fd)
  })

  it('report the end of the stream as no bytes, and a closed peer as EPIPE without a signal', () => {
    const [a, b] = socketPair()
    close(b)
    expect(receiveWithFds(a, 10, 1)).toEqual({ bytes: new Uint8Array(0), fds: [] })
    expect(sendWithFds(a, Uint8Array.of(1), [])).toBe(-Errno.EPIPE)
    close(a)
  })

  it('say that there is no room now', () => {
    const big = new Uint8Array(1 << 20)
    while (sendWithFds(here, big, []) > 0);
    expect(sendWithFds(here, big, [])).toBe(-Errno.EAGAIN)
  })

  it('refuse what cannot be sent', () => {
    expect(() => sendWithFds(here, new Uint8Array(0), [here])).toThrow(RangeError)
    expect(() =>
      sendWithFds(
        here,
        Uint8Array.of(1),
        Array.from({ length: 254 }, () => here),
      ),
    ).toThrow(RangeError)
    expect(sendWithFds(here, Uint8Array.of(1), [100_000])).toBe(-Errno.EBADF)
    expect(receiveWithFds(there, 1, 1)).toBeUndefined()
  })

  it('say that a descriptor is no socket', () => {
    const event = eventfd()
    expect(sendWithFds(event, Uint8Array.of(1), [])).toBe(-88)
    expect(() => receiveWithFds(event, 1, 1)).toThrow(expect.objectContaining({ code: 'ENOTSOCK', syscall: 'recvmsg' }))
    close(event)
  })

  it('share memory with another process', async () => {
    const memory = memfdCreate('shared')
    truncate(memory, 65536)
    const mapping = mapShared(memory, 65536)
    mapping.bytes[0] = 20
    sendWithFds(here, Uint8Array.of(1), [memory])
    setBlocking(there, true)
    const child = await runSource(
      `
      import { mapShared, receiveWithFds, sendWithFds } from '@virtio-ts/native'
      const { fds } = receiveWithFds(3, 1, 1)
      const { bytes } = mapShared(fds[0], 65536)
      bytes[1] = bytes[0] + 1
      sendWithFds(3, Uint8Array.of(77), [])
      `,
      { inherit: [there] },
    )
    expect(child).toMatchObject({ status: 0, stderr: '' })
    expect(mapping.bytes[1]).toBe(21)
    expect(receiveWithFds(here, 1, 0)?.bytes).toEqual(Uint8Array.of(77))
    mapping.unmap()
    close(memory)
  })
})
