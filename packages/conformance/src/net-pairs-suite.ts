import type { ReceivedPacket } from '@virtio-ts/driver-net'
import { describe, expect, it } from 'vitest'
import { until } from './eventually.ts'
import type { NetSuiteOptions } from './net-bench.ts'
import { numbered, same } from './net-suite-frames.ts'

const BUDGET = 64

/** A network driver on a device with several queue pairs, or with one, where it comes to the same. */
export function netPairsSuite(name: string, options: NetSuiteOptions): void {
  describe.each([false, true])(`${name}: queue pairs, polled: %s`, (polled) => {
    it('§ 5.1.6.5.6 uses every queue pair there is, fewer of them, and all again', async () => {
      const bench = await options.open({ queuePairs: 4, ...(polled && { interrupts: 'none' }) })
      const { driver } = bench
      const { pairs } = driver
      const received: Uint8Array[] = []
      const take = (packet: ReceivedPacket): void => void received.push(packet.toFrame())
      for (const pair of polled ? [] : pairs) {
        pair.onReceive(() => {
          do while (pair.receive(take, BUDGET) > 0);
          while (pair.armReceive())
        })
      }
      let number = 0
      for (const inUse of [pairs.length, 1, pairs.length]) {
        await driver.setQueuePairs(inUse)
        expect(driver.describe().queuePairs).toMatchObject({ setUp: pairs.length, inUse })
        // One by one, as a device serves its queues in any order.
        for (const pair of pairs) {
          const out = numbered(driver, false, number++, 100)
          expect(pair.send(out)).toBe(pair.index < inUse)
          if (pair.index >= inUse) continue
          const seen: Uint8Array[] = []
          await until(driver, polled, `nothing comes out of pair ${pair.index}`, () => {
            pair.poll()
            return seen.push(...bench.sent()) > 0
          })
          expect(same(seen, [out])).toBe(true)
        }
        received.length = 0
        const back = Array.from({ length: 10 }, () => numbered(driver, true, number++, 200))
        for (const frame of back) bench.deliver(frame)
        await until(driver, polled, 'frames do not arrive', () => {
          if (polled) for (const pair of pairs) pair.receive(take, BUDGET)
          return received.length >= back.length
        })
        const sorted = (frames: readonly Uint8Array[]): string[] =>
          frames.map((frame) => Buffer.from(frame).toString('hex')).sort()
        expect(sorted(received)).toEqual(sorted(back))
      }
      await expect(driver.setQueuePairs(pairs.length + 1)).rejects.toThrow(RangeError)
      await driver.close()
      expect(bench.violations?.() ?? []).toEqual([])
      expect(bench.allocatedBytes?.() ?? 0).toBe(0)
      await bench.dispose?.()
    })
  })
}
