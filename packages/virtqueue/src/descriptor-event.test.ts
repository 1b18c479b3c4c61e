import { describe, expect, it } from 'vitest'
import { descriptorEvent } from './descriptor-event.ts'

describe('descriptorEvent', () => {
  it('§ 2.8.10: D10: equals going through the descriptors one by one, for every event, place and count of small rings', () => {
    let wrong = 0
    let cases = 0
    for (let size = 1; size <= 9; size++) {
      for (let from = 0; from < 2 * size; from++) {
        for (let count = 1; count <= size; count++) {
          const passed = new Set<number>()
          let slot = from % size
          let wrap = from < size
          for (let i = 0; i < count; i++) {
            passed.add(slot | (wrap ? 0x8000 : 0))
            if (++slot === size) {
              slot = 0
              wrap = !wrap
            }
          }
          for (let offset = 0; offset < size; offset++) {
            for (const event of [offset, offset | 0x8000]) {
              cases++
              if (descriptorEvent(event, from, count, size) !== passed.has(event)) wrong++
            }
          }
        }
      }
    }
    expect([wrong, cases]).toEqual([0, 8100])
  })

  it('the largest ring: the last descriptor of a lap, the first of the next, the same ones a lap apart', () => {
    const size = 32768
    expect(descriptorEvent(0xffff, size - 1, 1, size)).toBe(true)
    expect(descriptorEvent(0x7fff, size - 1, 1, size)).toBe(false)
    expect(descriptorEvent(0x0000, size - 1, 2, size)).toBe(true)
    expect(descriptorEvent(0x8000, size - 1, size, size)).toBe(false)
    expect(descriptorEvent(0x8000, 2 * size - 1, 2, size)).toBe(true)
  })

  it.each([8, 9, 0x7fff, 0x8008, 0xffff])('D17: %i names no descriptor of a ring of 8: notify', (event) => {
    expect(descriptorEvent(event, 3, 1, 8)).toBe(true)
  })
})
