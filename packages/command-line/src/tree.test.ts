import { describe, expect, it } from 'vitest'
import { renderTree } from './tree.ts'

describe('renderTree', () => {
  it('draws children, lines and what hangs below them', () => {
    const tree = {
      label: 'root',
      lines: ['about root'],
      children: [
        { label: 'first', lines: ['about first'], children: [{ label: 'grandchild' }] },
        { label: 'last', lines: ['about last'] },
      ],
    }
    expect(renderTree(tree)).toBe(
      [
        'root',
        '│  about root',
        '├─ first',
        '│  │  about first',
        '│  └─ grandchild',
        '└─ last',
        '      about last',
      ].join('\n'),
    )
  })

  it('breaks long lines at spaces, under the text they belong to', () => {
    const features = ['CSUM', 'GUEST_CSUM', 'MAC', 'MRG_RXBUF', 'STATUS', 'CTRL_VQ', 'RING_RESET', 'VERSION_1'].join(
      ' ',
    )
    const text = renderTree({ label: 'root', lines: [`features: ${features}`], children: [{ label: 'child' }] }, 40)
    expect(text.split('\n')).toEqual([
      'root',
      '│  features: CSUM GUEST_CSUM MAC',
      '│            MRG_RXBUF STATUS CTRL_VQ',
      '│            RING_RESET VERSION_1',
      '└─ child',
    ])
  })

  it('never loses a word, however narrow the terminal', () => {
    const words = Array.from({ length: 30 }, (_, index) => `word${index}`.repeat(1 + (index % 12)))
    for (const width of [1, 40, 41, 77, 200]) {
      const found = renderTree({ label: '', lines: [words.join(' ')] }, width)
        .split(/\s+/)
        .filter(Boolean)
      expect(found).toEqual(words)
    }
  })
})
