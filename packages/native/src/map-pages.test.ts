import { afterEach, describe, expect, it } from 'vitest'
import { close } from './file-descriptor.ts'
import { mapPages } from './map-pages.ts'
import { mapShared } from './mapping.ts'
import { memfdCreate, truncate } from './memfd.ts'

const PAGE = 0x1_0000
const opened: number[] = []
afterEach(() => {
  for (const fd of opened.splice(0)) close(fd)
})

function file(pages: number): number {
  const fd = memfdCreate('map-pages')
  opened.push(fd)
  truncate(fd, pages * PAGE)
  const { bytes, unmap } = mapShared(fd, pages * PAGE)
  for (let page = 0; page < pages; page++) bytes.fill(page + 1, page * PAGE, (page + 1) * PAGE)
  unmap()
  return fd
}

describe('mapPages', () => {
  it('lays pages out in the order asked for, on a page boundary, shared with the file', () => {
    const fd = file(4)
    const mapping = mapPages(fd, PAGE, [2, 0, 3])
    expect(mapping.address % PAGE).toBe(0)
    expect(mapping.bytes.length).toBe(3 * PAGE)
    for (const [place, value] of [3, 1, 4].entries()) {
      expect(mapping.bytes[place * PAGE]).toBe(value)
      expect(mapping.bytes[(place + 1) * PAGE - 1]).toBe(value)
    }
    mapping.bytes[2 * PAGE + 5] = 99
    const whole = mapShared(fd, 4 * PAGE)
    expect(whole.bytes[3 * PAGE + 5]).toBe(99)
    mapping.unmap()
    mapping.bytes[2 * PAGE + 5] = 1
    expect(whole.bytes[3 * PAGE + 5]).toBe(99)
    whole.unmap()
  })

  it('refuses an empty order, and says which page it cannot map', () => {
    expect(() => mapPages(file(1), PAGE, [])).toThrow(RangeError)
    expect(() => mapPages(100_000, PAGE, [7])).toThrow(
      expect.objectContaining({ code: 'EBADF', message: expect.stringContaining('page 7') }),
    )
  })
})
