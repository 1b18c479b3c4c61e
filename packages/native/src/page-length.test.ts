import { execFileSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { pageLength } from './page-length.ts'

it('the page length is what the C library says', () => {
  expect(pageLength()).toBe(Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' })))
})
