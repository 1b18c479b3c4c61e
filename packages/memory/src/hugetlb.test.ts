import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs'
import { openFdCount } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hugetlbDma } from './hugetlb.ts'
import { requirement } from '../../../test/requirements.ts'

const pageLength = Number(/^Hugepagesize:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * 1024
const pool = `/sys/kernel/mm/hugepages/hugepages-${pageLength / 1024}kB`
const count = (name: string): number => Number(readFileSync(`${pool}/${name}`, 'utf8'))

function mayChangePool(): boolean {
  try {
    accessSync(`${pool}/nr_hugepages`, constants.W_OK)
    return true
  } catch {
    return false
  }
}

describe('hugetlbDma', () => {
  it('says how many huge pages are missing and how to make them', () => {
    const before = openFdCount()
    const pages = count('nr_hugepages') + 1000
    expect(() => hugetlbDma(pages * pageLength - 1)).toThrow(
      expect.objectContaining({
        name: 'DmaError',
        code: 'memory.unavailable',
        message: expect.stringMatching(
          new RegExp(`^${pages} huge pages of \\d+ KiB are needed, .*sysctl vm\\.nr_hugepages=\\d+`),
        ),
        cause: expect.objectContaining({ name: 'SystemError' }),
      }),
    )
    expect(openFdCount()).toBe(before)
  })

  it('refuses a length that is none', () => {
    const before = openFdCount()
    for (const length of [0, -1, Number.NaN]) expect(() => hugetlbDma(length)).toThrow(/.+/)
    expect(openFdCount()).toBe(before)
  })

  requirement(() => (mayChangePool() ? undefined : 'may not change nr_hugepages'))('with huge pages', () => {
    const configured = count('nr_hugepages')

    beforeEach(() => writeFileSync(`${pool}/nr_hugepages`, String(configured + 3)))
    afterEach(() => writeFileSync(`${pool}/nr_hugepages`, String(configured)))

    it('takes whole pages, all at once, and gives them back', () => {
      const free = count('free_hugepages')
      const dma = hugetlbDma(pageLength + 1)
      try {
        expect(dma.length).toBe(2 * pageLength)
        expect(dma.address % pageLength).toBe(0)
        expect(dma.deviceAddress % pageLength).toBe(0)
        expect(count('free_hugepages')).toBe(free - 2)
        const region = dma.allocate(2 * pageLength)
        region.bytes[2 * pageLength - 1] = 1
        expect(region.file).toEqual({ fd: dma.fd, offset: 0 })
        dma.free(region)
      } finally {
        dma.close()
      }
      expect(count('free_hugepages')).toBe(free)
    })

    it('says it when there are some, but too few', () => {
      expect(() => hugetlbDma((configured + 4) * pageLength)).toThrow(
        expect.objectContaining({
          code: 'memory.unavailable',
          message: expect.stringContaining(`of ${configured + 3} are free`),
        }),
      )
    })
  })
})
