import { describe, expect, it } from 'vitest'
import { packedRingLayout } from './packed-ring.ts'

describe('packedRingLayout', () => {
  it.each([1, 2, 3, 5, 7, 8, 100, 255, 256, 1000, 32767, 32768])(
    '§ 2.8.10.1 size %i: areas of 16 bytes an entry, 4 and 4, apart and aligned',
    (size) => {
      const layout = packedRingLayout(size)
      expect([layout.descriptorAreaLength, layout.driverAreaLength, layout.deviceAreaLength]).toEqual([16 * size, 4, 4])
      expect([layout.descriptorArea % 16, layout.driverArea % 4, layout.deviceArea % 4]).toEqual([0, 0, 0])
      expect(layout.alignment % 16).toBe(0)
      const line = (offset: number): number => Math.floor(offset / 64)
      expect(line(layout.driverArea)).toBeGreaterThan(line(layout.descriptorAreaLength - 1))
      expect(line(layout.deviceArea)).toBeGreaterThan(line(layout.driverArea + 3))
      expect(layout.length).toBeGreaterThanOrEqual(layout.deviceArea + 4)
    },
  )
})
