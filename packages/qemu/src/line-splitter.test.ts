import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LineSplitter } from './line-splitter.ts'

describe('LineSplitter', () => {
  it('gives the same lines whatever pieces they come in', () => {
    const text = 'one\r\ntwo\n\nzwölf \u{1f600}\r\n\r\nrest'
    const bytes = Buffer.from(text)
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 40 }), (cuts) => {
        const splitter = new LineSplitter('utf8', 100)
        const lines: string[] = []
        let at = 0
        for (const cut of [...cuts, bytes.length]) {
          // a buffer that is used again must not show through
          const piece = Uint8Array.from(bytes.subarray(at, at + cut))
          splitter.push(piece, (line) => lines.push(line))
          piece.fill(0)
          at += cut
        }
        expect(lines).toEqual(['one', 'two', '', 'zwölf \u{1f600}', ''])
        expect(splitter.rest).toBe('rest')
      }),
    )
  })

  it('refuses a line without end', () => {
    const splitter = new LineSplitter('latin1', 10)
    const ignore = (): void => {}
    splitter.push(Buffer.from('12345'), ignore)
    expect(() => splitter.push(Buffer.from('678901'), ignore)).toThrowError(RangeError)
  })
})
