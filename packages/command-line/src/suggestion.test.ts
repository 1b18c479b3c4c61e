import { describe, expect, it } from 'vitest'
import { suggestion } from './suggestion.ts'

const names = ['demo', 'run', 'devices', 'show', 'stats', 'capture', 'doctor']

describe('suggestion', () => {
  it.each([
    ['shwo', 'show'],
    ['rnu', 'run'],
    ['Capture', 'capture'],
    ['device', 'devices'],
    ['statz', 'stats'],
    ['cap', 'capture'],
    ['doc', 'doctor'],
  ])('takes %s for %s', (typed, meant) => {
    expect(suggestion(typed, names)).toBe(meant)
  })

  it.each(['bridge', 'x', '', 'a'.repeat(100_000)])('takes nothing for %.20s', (typed) => {
    expect(suggestion(typed, names)).toBeUndefined()
  })
})
