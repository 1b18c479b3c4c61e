/** A feature bit number, 0 to 127. @see VIRTIO 1.3 § 2.2 "Feature Bits" */
export type FeatureBit = number

/**
 * Reserved feature bits: what the ring and the transport negotiate, whatever the device is.
 * Keys are the names without `VIRTIO_F_` / `VIRTIO_RING_F_`, as the command line spells them.
 * @see VIRTIO 1.3 § 6 "Reserved Feature Bits"
 */
export const ReservedFeature = {
  NOTIFY_ON_EMPTY: 24,
  ANY_LAYOUT: 27,
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  SR_IOV: 37,
  NOTIFICATION_DATA: 38,
  NOTIF_CONFIG_DATA: 39,
  RING_RESET: 40,
  ADMIN_VQ: 41,
} as const

export type ReservedFeatureName = keyof typeof ReservedFeature

/** The set that holds just these bits. */
export function featureSet(...bits: readonly FeatureBit[]): bigint {
  let set = 0n
  for (const bit of bits) set |= 1n << BigInt(bit)
  return set
}

export function hasFeature(set: bigint, bit: FeatureBit): boolean {
  return ((set >> BigInt(bit)) & 1n) === 1n
}

/** Names of the bits in `set`, in bit order; a bit that no table names is `bit N`. */
export function featureNames(set: bigint, ...tables: readonly Readonly<Record<string, FeatureBit>>[]): string[] {
  const names: string[] = []
  for (let bit = 0; set >> BigInt(bit) !== 0n; bit++) {
    if (!hasFeature(set, bit)) continue
    const table = tables.find((candidate) => Object.values(candidate).includes(bit))
    const name = table && Object.keys(table).find((key) => table[key] === bit)
    names.push(name ?? `bit ${bit}`)
  }
  return names
}

/** `feature` needs at least one of `anyOf`. @see VIRTIO 1.3 § 5.1.3.1 "Feature bit requirements" */
export interface FeatureDependency<Name extends string = string> {
  readonly feature: Name
  readonly anyOf: readonly Name[]
}

/**
 * Drops from `set` every bit whose requirements `set` does not meet, until nothing more falls.
 * @returns the closed set and the names dropped, in the order they fell
 */
export function closeFeatures<Name extends string>(
  set: bigint,
  table: Readonly<Record<Name, FeatureBit>>,
  dependencies: readonly FeatureDependency<Name>[],
): { readonly set: bigint; readonly dropped: readonly Name[] } {
  const dropped: Name[] = []
  for (let changed = true; changed; ) {
    changed = false
    for (const { feature, anyOf } of dependencies) {
      const mask = featureSet(table[feature])
      if ((set & mask) === 0n || anyOf.some((name) => hasFeature(set, table[name]))) continue
      set &= ~mask
      dropped.push(feature)
      changed = true
    }
  }
  return { set, dropped }
}
