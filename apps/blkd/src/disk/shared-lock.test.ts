import fc from 'fast-check'
import { expect, it } from 'vitest'
import { SharedLock } from './shared-lock.ts'

it('lets some share and others be alone, and everybody have a turn', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.boolean(), fc.nat(3), fc.boolean())), async (operations) => {
      const lock = new SharedLock()
      let sharing = 0
      let alone = 0
      let most = 0
      const results = await Promise.allSettled(
        operations.map(([exclusive, turns, fails]) =>
          lock.run(exclusive, async () => {
            if (exclusive) alone++
            else sharing++
            most = Math.max(most, sharing)
            expect(alone <= 1 && (alone === 0 || sharing === 0)).toBe(true)
            for (let i = 0; i < turns; i++) await Promise.resolve()
            if (exclusive) alone--
            else sharing--
            if (fails) throw new Error('as the test wants it')
          }),
        ),
      )
      expect(results.map(({ status }) => status === 'rejected')).toEqual(operations.map(([, , fails]) => fails))
      if (operations.every(([exclusive, turns]) => !exclusive && turns > 0)) expect(most).toBe(operations.length)
    }),
  )
})

it('lets nobody overtake one who waits to be alone', async () => {
  const lock = new SharedLock()
  const order: string[] = []
  let release = (): void => {}
  const first = lock.run(false, () => new Promise<void>((resolve) => (release = resolve)))
  const waiting = lock.run(true, async () => void order.push('alone'))
  const later = lock.run(false, async () => void order.push('later'))
  release()
  await Promise.all([first, waiting, later])
  expect(order).toEqual(['alone', 'later'])
})
