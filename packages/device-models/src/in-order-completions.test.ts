import { describe, expect, it } from 'vitest'
import { DescriptorChain } from './descriptor-chain.ts'
import { InOrderCompletions } from './in-order-completions.ts'

const chain = (head: number, writable: number, descriptors: number = 1): DescriptorChain =>
  new DescriptorChain(
    head,
    [],
    writable > 0 ? [new Uint8Array(writable)] : [],
    Array.from({ length: descriptors }, (_, n) => head + n),
  )

function take(completions: InOrderCompletions, ...chains: DescriptorChain[]): void {
  for (const each of chains) completions.taken(each)
}

describe('InOrderCompletions', () => {
  it('§ 2.7.9: shows nothing before everything taken earlier is done', () => {
    const [first, second] = [chain(0, 0), chain(1, 0)]
    const completions = new InOrderCompletions('never')
    take(completions, first, second)
    completions.done(second, 0)
    expect(completions.elements()).toEqual([])
    completions.done(first, 0)
    expect(completions.elements().map(({ id }) => id)).toEqual([0, 1])
    expect(completions.elements()).toEqual([])
  })

  it('§ 2.7.9: § 2.8.8: has one element stand for several, the last one’s, if those before it are written completely', () => {
    const chains = [chain(0, 0, 2), chain(2, 64), chain(3, 64), chain(4, 64), chain(5, 0)]
    const completions = new InOrderCompletions('always')
    take(completions, ...chains)
    for (const [n, written] of [0, 64, 10, 64].entries()) completions.done(chains[n]!, written)
    expect(completions.elements()).toEqual([
      { id: 3, length: 10, descriptors: 4, chains: 3 },
      { id: 4, length: 64, descriptors: 1, chains: 1 },
    ])
  })

  it('does either each other time if asked to', () => {
    const completions = new InOrderCompletions('alternate')
    const lengths = [0, 1, 2, 3].map(() => {
      const chains = [chain(0, 0), chain(1, 0)]
      take(completions, ...chains)
      for (const each of chains) completions.done(each, 0)
      return completions.elements().length
    })
    expect(lengths).toEqual([1, 2, 1, 2])
  })

  it('forgets what was put back', () => {
    const completions = new InOrderCompletions('never')
    const [first, second] = [chain(0, 0), chain(1, 0)]
    take(completions, first, second)
    expect(completions.untaken()).toBe(second)
    completions.done(first, 0)
    expect(completions.elements()).toHaveLength(1)
  })
})
