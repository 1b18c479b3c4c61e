import { PassThrough } from 'node:stream'
import { expect, it } from 'vitest'
import { Progress, progressLine } from './progress.ts'

it('says how far it is, how fast, and how long it takes', () => {
  expect(progressLine(32 << 20, 64 << 20, 2)).toBe(
    '[###############...............] 50 %  32 MiB of 64 MiB, 16 MiB/s, 2 s left',
  )
  expect(progressLine(0, 1000, 0)).toBe('[..............................] 0 %  0 bytes of 1000 bytes, 0 bytes/s')
  expect(progressLine(0, 0, 0)).toContain('100 %')
})

it('shows itself on terminals only, and takes itself away', () => {
  const stream = Object.assign(new PassThrough(), { isTTY: false })
  const silent = new Progress(stream, 100)
  silent.show(100)
  silent.end()
  expect(stream.read()).toBeNull()
  stream.isTTY = true
  const bar = new Progress(stream, 100)
  bar.show(100)
  bar.end()
  const shown = String(stream.read())
  expect(shown).toMatch(/^\r\[#{30}\] 100 % .*\r +\r$/)
})
