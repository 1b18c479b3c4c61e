import { describe, expect, it } from 'vitest'
import { splitRingLayout } from './split-ring.ts'

const sizes = Array.from({ length: 16 }, (_, power) => 2 ** power)

describe('splitRingLayout', () => {
  it.each(sizes)('§ 2.7 size %i: areas of 16, 6 + 2 and 6 + 8 bytes an entry, apart and aligned', (size) => {
    const layout = splitRingLayout(size, false)
    expect(layout.descriptorAreaLength).toBe(16 * size)
    expect(layout.driverAreaLength).toBe(6 + 2 * size)
    expect(layout.deviceAreaLength).toBe(6 + 8 * size)
    expect(layout.descriptorArea % 16).toBe(0)
    expect(layout.driverArea % 2).toBe(0)
    expect(layout.deviceArea % 4).toBe(0)
    // QEMU before 9.0, behind an IOMMU, loses the second half of an element that crosses a page.
    expect((layout.deviceArea + 4) % 8).toBe(0)
    expect(layout.alignment % 8).toBe(0)
    expect(layout.driverArea).toBeGreaterThanOrEqual(layout.descriptorArea + layout.descriptorAreaLength)
    expect(layout.deviceArea).toBeGreaterThanOrEqual(layout.driverArea + layout.driverAreaLength)
    expect(layout.length).toBeGreaterThanOrEqual(layout.deviceArea + layout.deviceAreaLength)
  })

  it.each(sizes)('§ 2.7.2 size %i, legacy: as virtq_size() lays it out with 4096 bytes alignment', (size) => {
    const align = (bytes: number): number => (bytes + 4095) & ~4095
    const layout = splitRingLayout(size, true)
    expect(layout.driverArea).toBe(16 * size)
    expect(layout.deviceArea).toBe(align(16 * size + 2 * (3 + size)))
    expect(layout.length).toBe(align(16 * size + 2 * (3 + size)) + align(2 * 3 + 8 * size))
    expect(layout.alignment).toBe(4096)
  })
})
