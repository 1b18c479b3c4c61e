import { describe, expect, it } from 'vitest'
import { structures } from '../../test-support/hand-driver.ts'
import { NetModel } from '../net/net-model.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { hostile } from './hostile.ts'
import type { HostileCapabilityKind } from './hostile-capabilities.ts'

function build(kind: HostileCapabilityKind, value?: number) {
  const fn = modelFunction(new NetModel(), { profile: hostile(value === undefined ? { kind } : { kind, value }) })
  const common = structures(fn).get(1)
  /** Where each step of the list leads. */
  const walk = (steps: number): number[] => {
    const seen: number[] = []
    for (let at = fn.configRead8(0x34); at !== 0 && seen.length < steps; at = fn.configRead8(at + 1)) seen.push(at)
    return seen
  }
  return { fn, common, walk, capLength: fn.configRead8((common?.at ?? 0) + 2) }
}

const cases: Readonly<Record<HostileCapabilityKind, () => void>> = {
  'caps-loop': () => {
    const seen = build('caps-loop').walk(100)
    expect(seen).toHaveLength(100)
    expect(new Set(seen).size).toBe(6)
  },
  'caps-stray': () => {
    expect(build('caps-stray').walk(3)).toEqual([0x40, 0x13])
  },
  'caps-end': () => {
    const { fn, walk } = build('caps-end')
    expect(walk(5)).toEqual([0x40, 0xfc])
    expect(fn.configRead8(0xfc)).toBe(9)
  },
  'caps-out-of-bar': () => {
    const { fn, common } = build('caps-out-of-bar')
    expect((common?.offset ?? 0) + (common?.length ?? 0)).toBeGreaterThan(fn.bar(4).length)
    expect(structures(build('caps-out-of-bar', 2).fn).get(2)?.offset).toBe(0x3ffc)
  },
  'caps-overflow': () => {
    const { common } = build('caps-overflow')
    expect((common?.offset ?? 0) + (common?.length ?? 0)).toBeGreaterThan(2 ** 32)
  },
  'caps-bad-bar': () => expect(build('caps-bad-bar').common?.bar).toBe(6),
  'caps-no-bar': () => {
    const { fn, common } = build('caps-no-bar')
    expect(() => fn.bar(common?.bar ?? 0)).toThrow(expect.objectContaining({ code: 'pci.no-bar' }))
  },
  'caps-short': () => expect(build('caps-short').capLength).toBe(8),
  'caps-length': () => expect(build('caps-length').common?.length).toBe(1),
  'caps-missing': () => {
    expect(build('caps-missing').common).toBeUndefined()
    expect([...structures(build('caps-missing', 2).fn).keys()]).toEqual([1, 3, 4, 5])
  },
  'bar-too-small': () => {
    const { fn, common } = build('bar-too-small')
    expect(fn.bar(4).length).toBe(16)
    expect(common?.length).toBeGreaterThan(16)
    expect(() => fn.bar(4).read16(18)).toThrow(expect.objectContaining({ code: 'pci.bar-bounds' }))
  },
  'caps-unknown-first': () => {
    const { fn, common } = build('caps-unknown-first')
    expect([...structures(fn).keys()].slice(0, 2)).toEqual([0x7f, 1])
    expect(fn.bar(4).read16((common?.offset ?? 0) + 18)).toBe(3)
  },
}

describe('hostile in configuration space', () => {
  it.each(Object.entries(cases))('%s', (_kind, check) => {
    check()
  })
})
