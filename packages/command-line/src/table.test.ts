import { describe, expect, it } from 'vitest'
import { renderTable } from './table.ts'

describe('renderTable', () => {
  it('lines columns up, to either side', () => {
    const rows = [
      ['a', '1', 'x'],
      ['long', '100', ''],
    ]
    expect(renderTable(rows, ['left', 'right'])).toBe('a       1  x\nlong  100')
    expect(renderTable([])).toBe('')
  })
})
