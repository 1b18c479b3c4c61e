import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { closeFeatures, featureNames, featureSet, hasFeature, ReservedFeature } from './features.ts'
import { NetFeature, type NetFeatureName, netFeatureDependencies } from './net.ts'

const names = Object.keys(NetFeature) as NetFeatureName[]

/** Whether every bit of `set` has what it needs, said in another way than `closeFeatures` does it. */
function isClosed(set: bigint): boolean {
  return names
    .filter((name) => hasFeature(set, NetFeature[name]))
    .every((name) =>
      netFeatureDependencies
        .filter(({ feature }) => feature === name)
        .every(({ anyOf }) => anyOf.some((needed) => hasFeature(set, NetFeature[needed]))),
    )
}

describe('feature sets', () => {
  it('name their bits in order, and those that no table knows by number', () => {
    expect(featureNames(featureSet(0, 32, 90), NetFeature, ReservedFeature)).toEqual(['CSUM', 'VERSION_1', 'bit 90'])
    expect(featureNames(0n, NetFeature)).toEqual([])
  })

  it('§ 5.1.3.1 drops what lacks its requirements, through chains of them', () => {
    const set = featureSet(NetFeature.HOST_ECN, NetFeature.HOST_TSO4, NetFeature.MAC)
    const closed = closeFeatures(set, NetFeature, netFeatureDependencies)
    expect(closed.set).toBe(featureSet(NetFeature.MAC))
    expect([...closed.dropped].sort()).toEqual(['HOST_ECN', 'HOST_TSO4'])
  })

  it('§ 5.1.3.1 closing any set leaves a closed one, and takes nothing that could stay', () => {
    fc.assert(
      fc.property(fc.subarray(names), (chosen) => {
        const set = featureSet(...chosen.map((name) => NetFeature[name]))
        const { set: closed, dropped } = closeFeatures(set, NetFeature, netFeatureDependencies)
        expect(isClosed(closed)).toBe(true)
        expect(closed & ~set).toBe(0n)
        expect(closed | featureSet(...dropped.map((name) => NetFeature[name]))).toBe(set)
        // Putting any one dropped bit back breaks a requirement: the result is the largest closed subset.
        for (const name of dropped) expect(isClosed(closed | featureSet(NetFeature[name]))).toBe(false)
      }),
    )
  })
})
