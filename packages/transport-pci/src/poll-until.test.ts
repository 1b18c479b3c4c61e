import { describe, expect, it } from 'vitest'
import { pollUntil } from './poll-until.ts'

describe('pollUntil', () => {
  it('asks once, at once, when it is done already', async () => {
    let asked = 0
    expect(await pollUntil(() => ++asked === 1, 0)).toBe(true)
    expect(asked).toBe(1)
  })

  it('gives up after the time given, having asked a bounded number of times', async () => {
    let asked = 0
    expect(
      await pollUntil(() => {
        asked++
        return false
      }, 60),
    ).toBe(false)
    expect(asked).toBeGreaterThan(8)
    expect(asked).toBeLessThan(60)
  })

  it('lets timers run between two questions', async () => {
    let fired = false
    setTimeout(() => {
      fired = true
    }, 10)
    expect(await pollUntil(() => fired, 5_000)).toBe(true)
  })

  it('passes on what the question throws', async () => {
    await expect(
      pollUntil(() => {
        throw new Error('gone')
      }, 100),
    ).rejects.toThrow('gone')
  })
})
