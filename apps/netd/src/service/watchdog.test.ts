import type { NotifySocket } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { startWatchdog, watchdogInterval } from './watchdog.ts'

describe('watchdogInterval', () => {
  it.each([
    [{}, undefined],
    [{ WATCHDOG_USEC: '20000000' }, 10_000],
    [{ WATCHDOG_USEC: '20000000', WATCHDOG_PID: '4711' }, 10_000],
    [{ WATCHDOG_USEC: '20000000', WATCHDOG_PID: '' }, 10_000],
    [{ WATCHDOG_USEC: '20000000', WATCHDOG_PID: '1' }, undefined],
    [{ WATCHDOG_USEC: '999999999999999' }, 0x7fff_ffff],
    [{ WATCHDOG_USEC: '1999' }, undefined],
    [{ WATCHDOG_USEC: '0' }, undefined],
    [{ WATCHDOG_USEC: '-1' }, undefined],
    [{ WATCHDOG_USEC: 'soon' }, undefined],
  ])('of %j is %s', (env, interval) => {
    expect(watchdogInterval(env, 4711)).toBe(interval)
  })
})

describe('startWatchdog', () => {
  let sent: string[]
  const notify = { present: true, send: (text: string) => sent.push(text) > 0 } as unknown as NotifySocket
  beforeEach(() => {
    sent = []
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('gives a sign of life at once and at each interval, until it is stopped', async () => {
    const stop = startWatchdog(notify, 100, async () => {})
    await vi.advanceTimersByTimeAsync(350)
    expect(sent).toEqual(['WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1'])
    stop()
    await vi.advanceTimersByTimeAsync(1000)
    expect(sent).toHaveLength(4)
  })

  it('gives none while there is no answer, asks nobody twice at a time, and goes on when there is one', async () => {
    let asked = 0
    let answer: () => void = () => {}
    let refuse = false
    const stop = startWatchdog(notify, 100, () => {
      asked++
      if (refuse) return Promise.reject(new Error('no'))
      return new Promise<void>((resolve) => (answer = resolve))
    })
    await vi.advanceTimersByTimeAsync(1000)
    expect([asked, sent]).toEqual([1, []])
    answer()
    await vi.advanceTimersByTimeAsync(0)
    expect(sent).toHaveLength(1)
    refuse = true
    await vi.advanceTimersByTimeAsync(1000)
    expect(asked).toBeGreaterThan(5)
    expect(sent).toHaveLength(1)
    stop()
  })

  it('does nothing where nobody wants it', async () => {
    let asked = 0
    const ask = async (): Promise<void> => void asked++
    startWatchdog(notify, undefined, ask)
    startWatchdog({ present: false } as NotifySocket, 100, ask)
    await vi.advanceTimersByTimeAsync(1000)
    expect([asked, sent]).toEqual([0, []])
  })

  it('says nothing any more once it is stopped, whatever is answered then', async () => {
    let answer: () => void = () => {}
    const stop = startWatchdog(notify, 100, () => new Promise<void>((resolve) => (answer = resolve)))
    stop()
    answer()
    await vi.advanceTimersByTimeAsync(10)
    expect(sent).toEqual([])
  })
})
