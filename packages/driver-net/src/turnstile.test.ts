import { describe, expect, it } from 'vitest'
import { Turnstile } from './turnstile.ts'

const never = new AbortController().signal

async function settled(work: Promise<unknown>): Promise<'open' | 'done' | 'refused'> {
  let state: 'open' | 'done' | 'refused' = 'open'
  work.then(
    () => (state = 'done'),
    () => (state = 'refused'),
  )
  await new Promise((resolve) => setImmediate(resolve))
  return state
}

describe('Turnstile', () => {
  it('lets one in at a time, in the order they came', async () => {
    const turnstile = new Turnstile()
    const order: number[] = []
    const all = [1, 2, 3].map((who) => turnstile.enter(never).then(() => order.push(who)))
    expect(await settled(all[1]!)).toBe('open')
    expect(order).toEqual([1])
    turnstile.leave()
    await all[1]
    turnstile.leave()
    await all[2]
    expect(order).toEqual([1, 2, 3])
    turnstile.leave()
    await turnstile.enter(never)
  })

  it('goes on without those who stopped waiting', async () => {
    const turnstile = new Turnstile()
    await turnstile.enter(never)
    const stop = new AbortController()
    const impatient = turnstile.enter(stop.signal)
    const patient = turnstile.enter(never)
    stop.abort(new Error('enough'))
    await expect(impatient).rejects.toThrow('enough')
    expect(await settled(patient)).toBe('open')
    turnstile.leave()
    await patient
    await expect(turnstile.enter(AbortSignal.abort(new Error('before')))).rejects.toThrow('before')
  })

  it('turns everyone away once closed', async () => {
    const turnstile = new Turnstile()
    await turnstile.enter(never)
    const waiting = turnstile.enter(never)
    turnstile.close(new Error('closed'))
    turnstile.close(new Error('again'))
    await expect(waiting).rejects.toThrow('closed')
    await expect(turnstile.enter(never)).rejects.toThrow('closed')
  })
})
