import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LineSplitter } from './line-splitter.ts'

describe('LineSplitter', () => {
  it('finds the same lines however the bytes are cut, even inside a character', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string().map((text) => text.replaceAll('\n', ''))),
        fc.integer({ min: 1, max: 9 }),
        (lines, size) => {
          const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''))
          const splitter = new LineSplitter(1000)
          const found: string[] = []
          for (let at = 0; at < bytes.length; at += size) {
            splitter.push(bytes.subarray(at, at + size))
            for (let line = splitter.next(); line !== undefined; line = splitter.next()) found.push(line)
          }
          expect(found).toEqual(lines.map((line) => Buffer.from(line).toString()))
        },
      ),
    )
  })

  it('keeps no more than a line may have', () => {
    const splitter = new LineSplitter(10)
    splitter.push(Buffer.from('0123456789\n'))
    expect(splitter.next()).toBe('0123456789')
    splitter.push(Buffer.from('0123456789a'))
    expect(() => splitter.next()).toThrow(RangeError)
    expect(() => new LineSplitter(10).next()).not.toThrow()
  })

  it('gives back what follows the last line taken', () => {
    const splitter = new LineSplitter(10)
    splitter.push(Buffer.from('a\nrest\n'))
    expect(splitter.next()).toBe('a')
    expect(splitter.takeRest().toString()).toBe('rest\n')
    expect(splitter.takeRest()).toHaveLength(0)
  })
})
