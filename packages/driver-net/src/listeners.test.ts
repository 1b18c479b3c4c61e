import { afterEach, describe, expect, it, vi } from 'vitest'
import { Listeners } from './listeners.ts'

afterEach(() => void vi.restoreAllMocks())

describe('Listeners', () => {
  it('calls everyone who listens, until they do not', () => {
    const listeners = new Listeners<[number]>()
    const heard = vi.fn<(value?: number) => void>()
    const stop = listeners.add(heard)
    const stopToo = listeners.add(heard)
    listeners.call(1)
    stop()
    stop()
    listeners.call(2)
    stopToo()
    listeners.call(3)
    expect(heard.mock.calls).toEqual([[1], [1], [2]])
    expect(listeners.count).toBe(0)
  })

  it('goes on when one throws, and does not keep the error to itself', () => {
    const later: (() => void)[] = []
    vi.spyOn(globalThis, 'queueMicrotask').mockImplementation((work) => void later.push(work))
    const listeners = new Listeners<[]>()
    const heard = vi.fn<(value?: number) => void>()
    listeners.add(() => {
      throw new Error('listener')
    })
    listeners.add(heard)
    listeners.call()
    expect(heard).toHaveBeenCalledTimes(1)
    expect(() => later[0]?.()).toThrow('listener')
  })

  it('may be taken off while they are called', () => {
    const listeners = new Listeners<[]>()
    const heard = vi.fn<(value?: number) => void>()
    const stop = listeners.add(() => stop())
    listeners.add(heard)
    listeners.call()
    listeners.call()
    expect(heard).toHaveBeenCalledTimes(2)
  })
})
