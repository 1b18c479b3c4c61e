import { describe, expect, it } from 'vitest'
import { needEvent } from './need-event.ts'

describe('needEvent', () => {
  it('§ 2.7.10.1: D10: equals the interval definition for all 2^24 triples of 8-bit indices', () => {
    const passed = new Uint8Array(256)
    let wrong = 0
    for (let old = 0; old < 256; old++) {
      passed.fill(0)
      // `next` goes once round the circle: each step adds the entry it leaves to those that were passed.
      for (let steps = 0; steps < 256; steps++) {
        const next = (old + steps) % 256
        for (let event = 0; event < 256; event++) {
          if (needEvent(event, next, old, 0xff) !== (passed[event] === 1)) wrong++
        }
        passed[next] = 1
      }
    }
    expect(wrong).toBe(0)
  })

  it('§ 2.7.10.1: a batch that straddles 65535 is announced', () => {
    expect(needEvent(0xffff, 2, 0xfffe, 0xffff)).toBe(true)
    expect(needEvent(0, 2, 0xfffe, 0xffff)).toBe(true)
    expect(needEvent(1, 2, 0xfffe, 0xffff)).toBe(true)
    expect(needEvent(2, 2, 0xfffe, 0xffff)).toBe(false)
    expect(needEvent(0xfffd, 2, 0xfffe, 0xffff)).toBe(false)
  })
})
