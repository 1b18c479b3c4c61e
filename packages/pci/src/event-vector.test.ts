import { close, eventfd, openFdCount, read, setBlocking, socketPair, write } from '@virtio-ts/native'
import { afterEach, describe, expect, it } from 'vitest'
import { EventVector } from './event-vector.ts'

const opened: (() => void)[] = []
afterEach(() => {
  for (const undo of opened.splice(0).reverse()) undo()
})

function track(vector: EventVector): EventVector {
  opened.push(() => vector.close())
  return vector
}

/** A vector on one end of a socket pair, and the other end. */
function socketVector(): { vector: EventVector; peer: number; hangUp: () => void } {
  const [near, peer] = socketPair()
  let open = true
  const hangUp = (): void => {
    if (open) close(peer)
    open = false
  }
  opened.push(hangUp)
  return { vector: track(new EventVector(near, { ownsFd: true })), peer, hangUp }
}

const turn = (ms = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await turn(2)
  expect(condition()).toBe(true)
}

describe('EventVector over an eventfd', () => {
  it('coalesces signals into one, and takes them all', () => {
    const vector = track(EventVector.create())
    expect(vector.drain()).toBe(false)
    vector.signal()
    vector.signal()
    vector.signal()
    expect(vector.drain()).toBe(true)
    expect(vector.drain()).toBe(false)
  })

  it('never blocks, even on a descriptor that would', () => {
    const fd = eventfd()
    opened.push(() => close(fd))
    setBlocking(fd, true)
    expect(track(new EventVector(fd)).drain()).toBe(false)
  })

  it('calls the listener after draining, once for a burst', async () => {
    const vector = track(EventVector.create())
    let calls = 0
    let leftOver = false
    vector.watch(() => {
      calls++
      leftOver ||= vector.drain()
    })
    vector.signal()
    vector.signal()
    await until(() => calls === 1)
    await turn()
    expect(calls).toBe(1)
    vector.signal()
    await until(() => calls === 2)
    expect(leftOver).toBe(false)
  })

  it('is quiet once the watch has stopped, and keeps what came later', async () => {
    const vector = track(EventVector.create())
    let calls = 0
    const stop = vector.watch(() => calls++)
    stop()
    stop()
    vector.signal()
    await turn()
    expect(calls).toBe(0)
    expect(vector.drain()).toBe(true)
  })

  it('has one listener at a time', async () => {
    const vector = track(EventVector.create())
    const stop = vector.watch(() => {})
    expect(() => vector.watch(() => {})).toThrow(/already/)
    stop()
    let calls = 0
    vector.watch(() => calls++)
    // Stopping an old watch again must not touch the new one.
    stop()
    expect(() => vector.watch(() => {})).toThrow(/already/)
    vector.signal()
    await until(() => calls === 1)
  })

  it('closes what it owns, once, and leaves what it does not own open', () => {
    const own = EventVector.create()
    const fd = eventfd()
    opened.push(() => close(fd))
    const borrowed = new EventVector(fd)
    const before = openFdCount()
    own.close()
    own.close()
    borrowed.close()
    expect(openFdCount()).toBe(before - 1)
    expect(write(fd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))).toBe(8)
  })

  it('touches no descriptor after close(), when the number may be another file', () => {
    const vector = EventVector.create()
    vector.close()
    const fd = eventfd()
    opened.push(() => close(fd))
    expect(fd).toBe(vector.fd)
    vector.signal()
    expect(read(fd, new Uint8Array(8))).toBeLessThan(0)
    write(fd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
    expect(vector.drain()).toBe(false)
    expect(() => vector.watch(() => {})).toThrow(/closed/)
  })

  it('stops the watch when closed', async () => {
    const vector = EventVector.create()
    let calls = 0
    vector.watch(() => calls++)
    vector.signal()
    vector.close()
    await turn()
    expect(calls).toBe(0)
  })

  it('refuses a descriptor that is not open', () => {
    expect(() => new EventVector(999_999)).toThrowError(expect.objectContaining({ code: 'EBADF' }))
  })
})

describe('EventVector over a socket', () => {
  it('takes everything that was sent, more than one read holds', () => {
    const { vector, peer } = socketVector()
    expect(write(peer, new Uint8Array(2000))).toBe(2000)
    expect(vector.drain()).toBe(true)
    expect(vector.drain()).toBe(false)
    // Exactly what one read holds: the second read finds nothing, which is no signal and no end.
    expect(write(peer, new Uint8Array(512))).toBe(512)
    expect(vector.drain()).toBe(true)
    expect(vector.ended).toBe(false)
  })

  it('calls the listener when bytes arrive', async () => {
    const { vector, peer } = socketVector()
    let calls = 0
    vector.watch(() => calls++)
    write(peer, new Uint8Array(8))
    await until(() => calls === 1)
    write(peer, new Uint8Array(8))
    await until(() => calls === 2)
  })

  it('delivers what came before the other end closed, then stops watching', async () => {
    const { vector, peer, hangUp } = socketVector()
    let calls = 0
    vector.watch(() => calls++)
    write(peer, new Uint8Array(8))
    hangUp()
    await until(() => vector.ended)
    await turn()
    expect(calls).toBe(1)
    expect(vector.drain()).toBe(false)
    // The watch is over: it would be called for ever for an end that stays readable.
    expect(() => vector.watch(() => {})).not.toThrow()
  })
})
