import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { HandQueue } from '../../test-support/hand-queue.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { RngModel } from '../rng-model.ts'
import { hostile } from './hostile.ts'
import type { HostileRingKind } from './hostile-ring.ts'
import type { HostileScript } from './hostile-script.ts'

/** A driver of eight buffers of 16 bytes; `request` makes one available and returns what came back. */
function setUp(script: HostileScript<HostileRingKind>, start = true) {
  const profile = hostile(script)
  const fn = modelFunction(new RngModel(), { profile })
  const driver = new HandDriver(fn)
  const queue = start ? (driver.start(1n << 32n, 1)[0] as HandQueue) : new HandQueue(fn.dma, 8)
  const room = driver.buffer(16)
  for (let n = 0; n < 8; n++) queue.descriptor(n, room.deviceAddress, 16, 2)
  let next = 0
  const request = (count = 1) => {
    queue.offer(...Array.from({ length: count }, () => next++ % 8))
    driver.notify(0)
    return queue.takeUsed()
  }
  const index = () => queue.used.getUint16(2, true)
  return { fn, driver, profile, queue, request, index }
}

const honest = (id: number) => [{ id, len: 16 }]

const cases: Readonly<Record<HostileRingKind, () => void | Promise<void>>> = {
  'id-range': () => {
    expect(setUp({ kind: 'id-range' }).request()).toEqual([{ id: 8, len: 16 }])
    expect(setUp({ kind: 'id-range', value: 0xffffffff }).request()).toEqual([{ id: 0xffffffff, len: 16 }])
  },
  'id-alias': () => {
    const { request } = setUp({ kind: 'id-alias', after: 2 })
    expect([request(), request(), request(), request()]).toEqual([
      honest(0),
      honest(1),
      [{ id: 0x10002, len: 16 }],
      honest(3),
    ])
  },
  'not-head': () => {
    const [element] = setUp({ kind: 'not-head' }).request()
    expect(element?.id).toBeGreaterThan(0)
    expect(element?.id).toBeLessThan(8)
    expect(setUp({ kind: 'not-head', value: 5 }).request()[0]?.id).toBe(5)
  },
  duplicate: () => {
    expect(setUp({ kind: 'duplicate' }).request()).toEqual([...honest(0), ...honest(0)])
  },
  'length-over': () => {
    expect(setUp({ kind: 'length-over' }).request()).toEqual([{ id: 0, len: 0xffffffff }])
    expect(setUp({ kind: 'length-over', value: 17 }).request()).toEqual([{ id: 0, len: 17 }])
  },
  'length-under': () => {
    expect(setUp({ kind: 'length-under' }).request()).toEqual([{ id: 0, len: 0 }])
  },
  'idx-jump': () => {
    const { queue, driver, index } = setUp({ kind: 'idx-jump' })
    queue.offer(0)
    driver.notify(0)
    expect(index()).toBe(10)
  },
  'idx-back': () => {
    const { queue, driver, request, index } = setUp({ kind: 'idx-back', after: 1 })
    request()
    queue.offer(1)
    driver.notify(0)
    expect(index()).toBe(0)
  },
  'scribble-descriptors': () => {
    const { fn, queue, request } = setUp({ kind: 'scribble-descriptors', value: 0x5a })
    expect(request()).toEqual(honest(0))
    expect(queue.descriptors.getUint32(0, true)).toBe(0x5a5a5a5a)
    expect(queue.descriptors.getUint32(124, true)).toBe(0x5a5a5a5a)
    expect(fn.violations).toEqual([])
  },
  'scribble-available': () => {
    const { queue, request } = setUp({ kind: 'scribble-available' })
    request()
    expect(queue.available.getUint16(2, true)).not.toBe(1)
  },
  'event-garbage': () => {
    const { queue, request } = setUp({ kind: 'event-garbage' })
    expect(request()).toEqual(honest(0))
    expect([queue.usedFlags, queue.availEvent]).toEqual([0xa5a5, 0xa5a5])
  },
  'never-complete': () => {
    const { profile, request } = setUp({ kind: 'never-complete', after: 1 })
    expect([request(), request(), request()]).toEqual([honest(0), [], []])
    expect(profile.done).toBe(2)
  },
  deaf: () => {
    const { request } = setUp({ kind: 'deaf', after: 1, times: 1 })
    expect([request(), request(), request()]).toEqual([honest(0), [], [...honest(1), ...honest(2)]])
  },
  'interrupt-lost': () => {
    const { fn, request } = setUp({ kind: 'interrupt-lost', times: 1 })
    request()
    expect(fn.intx()?.drain()).toBe(false)
    request()
    expect(fn.intx()?.drain()).toBe(true)
  },
  'interrupt-storm': async () => {
    const { fn, request } = setUp({ kind: 'interrupt-storm', value: 20 })
    request()
    const before = fn.stats.interrupts
    for (let n = 0; n < 30; n++) await turn()
    expect(fn.stats.interrupts).toBe(before + 20)
  },
  'interrupt-early': () => {
    const { fn, driver } = setUp({ kind: 'interrupt-early' }, false)
    fn.setBusMaster(true)
    driver.status = 1
    expect(fn.intx()?.drain()).toBe(true)
  },
  'used-after-reset': async () => {
    const { driver, request, index } = setUp({ kind: 'used-after-reset', after: 1 })
    request()
    driver.status = 0
    expect(driver.status).toBe(0)
    expect(index()).toBe(1)
    await turn()
    expect(index()).toBe(2)
  },
}

describe('hostile in the ring', () => {
  it.each(Object.entries(cases))('%s', async (_kind, check) => {
    await check()
  })

  it('strikes only the queue it is told', () => {
    const { request } = setUp({ kind: 'id-range', queue: 1 })
    expect(request()).toEqual(honest(0))
  })

  it('ends a storm with a reset', async () => {
    const { fn, driver, request } = setUp({ kind: 'interrupt-storm' })
    request()
    await turn()
    driver.status = 0
    await turn()
    const before = fn.stats.interrupts
    for (let n = 0; n < 5; n++) await turn()
    expect(fn.stats.interrupts).toBe(before)
  })

  it('plays several scripts', () => {
    const fn = modelFunction(new RngModel(), {
      profile: hostile([
        { kind: 'length-over', value: 99 },
        { kind: 'id-alias', after: 1 },
      ]),
    })
    const driver = new HandDriver(fn)
    const [queue] = driver.start(1n << 32n, 1)
    for (const head of [0, 1]) {
      queue?.descriptor(head, driver.buffer(4).deviceAddress, 4, 2)
      queue?.offer(head)
      driver.notify(0)
    }
    expect(queue?.takeUsed()).toEqual([
      { id: 0, len: 99 },
      { id: 0x10001, len: 4 },
    ])
  })

  it('refuses a script that makes no sense', () => {
    expect(() => hostile({ kind: 'id-range', at: 'notify' })).toThrow(RangeError)
    expect(() => hostile({ kind: 'nothing' as 'id-range' })).toThrow('there is no misdeed')
  })
})
