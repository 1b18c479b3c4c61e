import { type FeatureBit, featureNames, hasFeature, ReservedFeature, type ReservedFeatureName } from '@virtio-ts/spec'

/** The feature bits that driver and device agreed on, asked for by name. */
export class NegotiatedFeatures<Feature extends string = string> {
  readonly bits: bigint
  /** What the device offered, accepted or not. */
  readonly offered: bigint
  readonly #table: Readonly<Record<string, FeatureBit>>

  constructor(bits: bigint, table: Readonly<Record<Feature, FeatureBit>>, offered: bigint = bits) {
    this.bits = bits
    this.offered = offered
    this.#table = table
  }

  has(name: Feature | ReservedFeatureName): boolean {
    const bit = this.#table[name] ?? ReservedFeature[name as ReservedFeatureName]
    return bit !== undefined && hasFeature(this.bits, bit)
  }

  /** Names in bit order. */
  get names(): readonly string[] {
    return featureNames(this.bits, this.#table, ReservedFeature)
  }
}
