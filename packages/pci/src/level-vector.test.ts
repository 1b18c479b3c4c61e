import { close, eventfd, openFdCount, socketPair, write } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LevelVector } from './level-vector.ts'

const one = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)
const turn = (ms = 10): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

let before: number
const undo: (() => void)[] = []
beforeEach(() => {
  before = openFdCount()
})
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step()
  expect(openFdCount()).toBe(before)
})

function vectorOn(fd: number, readLength: number): { vector: LevelVector; log: (string | number)[] } {
  const log: (string | number)[] = []
  const vector = new LevelVector({ fd, readLength, rearm: () => log.push('rearm'), onEnd: (errno) => log.push(errno) })
  undo.push(() => vector.close())
  return { vector, log }
}

function counter(): number {
  const fd = eventfd()
  undo.push(() => close(fd))
  return fd
}

describe('LevelVector', () => {
  it('lets the line through again after the listener, also when that throws', async () => {
    const fd = counter()
    const { vector, log } = vectorOn(fd, 8)
    const stop = vector.watch(() => log.push('served'))
    expect(() => vector.watch(() => {})).toThrow(/watched already/)
    write(fd, one)
    for (let i = 0; i < 100 && log.length < 2; i++) await turn()
    expect(log).toEqual(['served', 'rearm'])
    stop()
    stop()
    write(fd, one)
    await turn(30)
    expect(log).toHaveLength(2)
    expect(vector.drain()).toBe(true)
    expect(vector.drain()).toBe(false)
    expect(log).toEqual(['served', 'rearm', 'rearm'])
  })

  it('does not let it through after the listener closed it', async () => {
    const fd = counter()
    const { vector, log } = vectorOn(fd, 8)
    vector.watch(() => {
      log.push('served')
      vector.close()
    })
    write(fd, one)
    for (let i = 0; i < 100 && log.length < 1; i++) await turn()
    await turn()
    expect(log).toEqual(['served'])
    expect(() => vector.watch(() => {})).toThrow(/closed/)
    write(fd, one)
    expect(vector.drain()).toBe(false)
  })

  it('takes 4 bytes at a time, as /dev/uio has them', () => {
    const [near, far] = socketPair()
    undo.push(
      () => close(near),
      () => close(far),
    )
    const { vector } = vectorOn(near, 4)
    write(far, Uint8Array.of(7, 0, 0, 0))
    expect(vector.drain()).toBe(true)
    expect(vector.drain()).toBe(false)
  })

  it('stops watching when the descriptor has ended, and says why', async () => {
    const fd = counter()
    // An eventfd refuses reads of less than 8 bytes with EINVAL.
    const { vector, log } = vectorOn(fd, 4)
    vector.watch(() => log.push('served'))
    write(fd, one)
    for (let i = 0; i < 100 && log.length < 1; i++) await turn()
    await turn(30)
    expect(log).toEqual([22])
  })
})
