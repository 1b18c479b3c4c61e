import { closeFeatures, featureNames, featureSet, ReservedFeature, VirtioError } from '@virtio-ts/spec'
import type { DriverSpec } from './driver-spec.ts'
import type { Transport } from './transport.ts'

/** Reserved bits this implementation acts on; every other one is left alone, bit 30 (a trap on old devices) included. */
const ringFeatures: bigint = featureSet(
  ReservedFeature.INDIRECT_DESC,
  ReservedFeature.EVENT_IDX,
  ReservedFeature.ANY_LAYOUT,
  ReservedFeature.ACCESS_PLATFORM,
  ReservedFeature.ORDER_PLATFORM,
  ReservedFeature.IN_ORDER,
  ReservedFeature.RING_PACKED,
  ReservedFeature.RING_RESET,
  ReservedFeature.NOTIFICATION_DATA,
  ReservedFeature.NOTIF_CONFIG_DATA,
)

/** The legacy interface has 32 feature bits and no VERSION_1. */
const legacyMask = 0xffffffffn

/**
 * The subset of `offered` to accept: known to the driver or the ring, not masked by the owner, closed over the dependency table.
 * @throws VirtioError `features.unknown-name`, `features.version-1`, `features.required-missing`
 */
export function chooseFeatures<Feature extends string, Queue extends string>(
  transport: Transport,
  spec: DriverSpec<Feature, Queue>,
  offered: bigint,
  without: readonly string[],
): bigint {
  const names: Readonly<Record<string, number>> = { ...ReservedFeature, ...spec.features }
  let wanted: bigint = featureSet(...Object.values<number>(spec.features)) | ringFeatures
  for (const name of without) {
    const bit = names[name]
    if (bit === undefined) {
      throw new VirtioError(
        'features.unknown-name',
        `no feature of a ${spec.name} device is called ${name}; known are ${Object.keys(names).join(' ')}`,
      )
    }
    wanted &= ~featureSet(bit)
  }
  let accepted = offered & wanted
  if (transport.legacy) accepted &= legacyMask
  else accepted = accepted | requireVersion1(transport, offered)
  const { set } = closeFeatures(accepted, spec.features, spec.dependencies ?? [])
  requireAll(transport, spec, set, offered)
  return set
}

/** VIRTIO 1.3 § 6.1 "Driver Requirements: Reserved Feature Bits": a driver MUST accept VERSION_1 if it is offered. */
function requireVersion1(transport: Transport, offered: bigint): bigint {
  const version1 = featureSet(ReservedFeature.VERSION_1)
  if ((offered & version1) !== 0n) return version1
  throw new VirtioError(
    'features.version-1',
    `${transport.location} has the registers of virtio 1.x but does not offer VERSION_1; use its legacy interface if it has one`,
    { device: transport.location },
  )
}

function requireAll<Feature extends string, Queue extends string>(
  transport: Transport,
  spec: DriverSpec<Feature, Queue>,
  set: bigint,
  offered: bigint,
): void {
  const missing = (spec.required ?? []).filter((name) => (set & featureSet(spec.features[name])) === 0n)
  if (missing.length === 0) return
  throw new VirtioError(
    'features.required-missing',
    `the ${spec.name} driver cannot work without ${missing.join(', ')}; ${transport.location} offers ` +
      `${featureNames(offered, spec.features, ReservedFeature).join(' ') || 'nothing'}, and a masked feature takes those that need it with it`,
    { device: transport.location },
  )
}
