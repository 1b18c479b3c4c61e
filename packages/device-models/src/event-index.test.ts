import { describe, expect, it } from 'vitest'
import { passesEvent } from './event-index.ts'

/** The definition: of the entries written, those from `before` up to but not including `after`, one has the index `event`. */
function naive(before: number, after: number, event: number, modulus: number): boolean {
  for (let index = before; index !== after; index = (index + 1) % modulus) if (index === event) return true
  return false
}

describe('passesEvent', () => {
  it('§ 2.7.7.2 agrees with the definition for all indexes of 8 bits', () => {
    let wrong = 0
    for (let before = 0; before < 256; before++)
      for (let event = 0; event < 256; event++) {
        let passed = false
        for (let count = 0; count < 256; count++) {
          const after = (before + count) & 0xff
          if (count > 0 && ((before + count - 1) & 0xff) === event) passed = true
          if (passesEvent(before, after, event, 0xff) !== passed) wrong++
        }
      }
    expect(wrong).toBe(0)
  })

  it('§ 2.7.7.2 agrees with the definition for 16 bits around the wrap', () => {
    let wrong = 0
    for (const before of [0, 1, 0x7fff, 0x8000, 0xfff0, 0xfffe, 0xffff])
      for (let count = 0; count < 40; count++)
        for (let distance = -5; distance < 45; distance++) {
          const after = (before + count) & 0xffff
          const event = (before + distance) & 0xffff
          if (passesEvent(before, after, event) !== naive(before, after, event, 0x10000)) wrong++
        }
    expect(wrong).toBe(0)
  })
})
