import { expect, it } from 'vitest'
import { formatSize, parseSize } from './size.ts'

it.each([
  ['0', 0],
  ['4096', 4096],
  ['64M', 64 * 2 ** 20],
  ['1t', 2 ** 40],
  ['', undefined],
  ['-1', undefined],
  ['1.5G', undefined],
  ['1KB', undefined],
  ['99999999999T', undefined],
])('reads %j as %s', (text, size) => expect(parseSize(text)).toBe(size))

it.each([
  [0, '0 bytes'],
  [1023, '1023 bytes'],
  [1536, '1.5 KiB'],
  [64 * 2 ** 20, '64 MiB'],
  [2 ** 53, '8 PiB'],
])('writes %i as %s', (bytes, text) => expect(formatSize(bytes)).toBe(text))
