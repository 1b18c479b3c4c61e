import {
  DeviceType,
  featureSet,
  PciCapabilityType as Cap,
  ReservedFeature,
  type ReservedFeatureName,
  VirtioPci,
} from '@virtio-ts/spec'
import type { DeviceModel } from '../device-model.ts'
import { ConfigSpace, PciHeader } from './config-space.ts'
import type { FunctionPlan, PlannedBar, PlannedCapability } from './function-plan.ts'
import type { ModelFunctionOptions } from './model-function-options.ts'
import { PENDING_OFFSET } from './msix-table.ts'
import type { RegisterBlock } from './register-block.ts'

const CAPABILITY_LENGTH = 16
const FIRST_CAPABILITY = 0x40
export const LEGACY_BAR = 0
export const MSIX_BAR = 1
const IO_BAR = 2
const MSIX_CAPABILITY = 0x11
const VENDOR_CAPABILITY = 0x09

/** VIRTIO 1.3 § 4.1.2.1 "Device Requirements: PCI Device Discovery" */
const transitionalDeviceIds: Readonly<Record<number, number>> = {
  [DeviceType.NETWORK]: 0x1000,
  [DeviceType.BLOCK]: 0x1001,
  [DeviceType.BALLOON]: 0x1002,
  [DeviceType.CONSOLE]: 0x1003,
  [DeviceType.SCSI]: 0x1004,
  [DeviceType.ENTROPY]: 0x1005,
  [DeviceType.NINE_P]: 0x1009,
}

/** A virtio structure and where it goes. */
export interface Placement {
  readonly type: number
  readonly offset: number
  readonly block: RegisterBlock
  readonly extra?: Uint8Array
}

/** The BAR that holds the virtio structures. */
export function structureBar(options: ModelFunctionOptions): {
  readonly index: number
  readonly kind: 'memory' | 'io'
} {
  return options.capsInIoBar ? { index: IO_BAR, kind: 'io' } : { index: options.capsBar ?? 4, kind: 'memory' }
}

/** One page each in memory, one after the other in I/O space, of which there is little. */
export function place(blocks: readonly Omit<Placement, 'offset'>[], kind: 'memory' | 'io'): Placement[] {
  let end = 0
  return blocks.map((placement) => {
    const offset = end
    const unit = kind === 'io' ? 4 : 0x1000
    end += Math.ceil(placement.block.length / unit) * unit
    return { ...placement, offset }
  })
}

/** Features of ring and transport that this function offers. */
export function transportFeatures(options: ModelFunctionOptions): bigint {
  const kind = options.interface ?? 'modern'
  const names = new Set<ReservedFeatureName>(['INDIRECT_DESC', 'EVENT_IDX'])
  if (kind !== 'modern') names.add('ANY_LAYOUT')
  if (kind !== 'legacy') names.add('VERSION_1').add('RING_RESET')
  for (const [name, offer] of Object.entries(options.ringFeatures ?? {}) as [ReservedFeatureName, boolean][]) {
    if (offer) names.add(name)
    else names.delete(name)
  }
  return featureSet(...[...names].map((name) => ReservedFeature[name])) | (options.extraFeatures ?? 0n)
}

export function planFunction(
  model: DeviceModel,
  options: ModelFunctionOptions,
  placements: readonly Placement[],
  legacyLength: number,
  msixEntries: number,
): FunctionPlan {
  const kind = options.interface ?? 'modern'
  const bars = new Map<number, PlannedBar>()
  if (kind !== 'modern') bars.set(LEGACY_BAR, { kind: 'io', length: powerOfTwo(legacyLength), wide: false })
  if (msixEntries > 0) bars.set(MSIX_BAR, { kind: 'memory', length: 0x1000, wide: false })
  const { index: bar, kind: space } = structureBar(options)
  const capabilities: PlannedCapability[] = []
  if (kind !== 'legacy') {
    const last = placements[placements.length - 1]
    const length = powerOfTwo((last?.offset ?? 0) + (last?.block.length ?? 0))
    bars.set(bar, { kind: space, length: Math.max(length, 16), wide: space === 'memory' && bar < 5 })
    for (const { type, offset, block, extra = new Uint8Array(0) } of placements)
      capabilities.push({ type, bar, offset, length: block.length, capLength: CAPABILITY_LENGTH + extra.length, extra })
    capabilities.push({
      type: Cap.PCI,
      bar: 0,
      offset: 0,
      length: 0,
      capLength: CAPABILITY_LENGTH + 4,
      extra: new Uint8Array(4),
    })
  }
  return {
    // VIRTIO 1.3 § 4.1.2.3 "Legacy Interfaces: A Note on PCI Device Discovery": ids, revision and subsystem of a transitional device.
    deviceId:
      kind === 'modern'
        ? VirtioPci.MODERN_DEVICE_ID_BASE + model.deviceType
        : (transitionalDeviceIds[model.deviceType] ?? 0x1000 + model.deviceType),
    revision: kind === 'modern' ? 1 : 0,
    classCode: options.classCode ?? model.classCode,
    subsystemId: kind === 'modern' ? 0x1100 : model.deviceType,
    capabilities,
    bars,
    msixEntries,
    finish: [],
  }
}

export interface BuiltSpace {
  readonly space: ConfigSpace
  /** Offset of the window capability and of the MSI-X capability, where there is one. */
  readonly window: number | undefined
  readonly msix: number | undefined
}

/** Writes a plan into configuration space. */
export function buildConfigSpace(plan: FunctionPlan, intx: boolean): BuiltSpace {
  const space = new ConfigSpace()
  space.set16(PciHeader.VENDOR_ID, VirtioPci.VENDOR_ID)
  space.set16(PciHeader.DEVICE_ID, plan.deviceId)
  // Whoever set the bus up has placed the BARs and turned decoding on; bus mastering is the driver's to turn on.
  space.set16(PciHeader.COMMAND, PciHeader.COMMAND_IO | PciHeader.COMMAND_MEMORY)
  space.allow(PciHeader.COMMAND, 2, 0x547)
  space.set32(PciHeader.REVISION, plan.revision | (plan.classCode << 8))
  space.set16(PciHeader.SUBSYSTEM_VENDOR_ID, VirtioPci.VENDOR_ID)
  space.set16(PciHeader.SUBSYSTEM_ID, plan.subsystemId)
  space.set8(PciHeader.INTERRUPT_PIN, intx ? 1 : 0)
  space.allow(PciHeader.INTERRUPT_LINE, 1, 0xff)
  for (const [index, { kind, length, wide }] of plan.bars)
    space.addBar(index, kind, length, wide, kind === 'io' ? 0xc000 + index * 0x400 : 0xfe000000 + index * 0x100000)

  const at: number[] = []
  let window: number | undefined
  let link: number = PciHeader.CAPABILITIES
  let next = FIRST_CAPABILITY
  const chain = (length: number): number => {
    const here = next
    space.set8(link, here)
    link = here + 1
    at.push(here)
    next += Math.ceil(length / 4) * 4
    return here
  }
  for (const capability of plan.capabilities) {
    const here = chain(CAPABILITY_LENGTH + capability.extra.length)
    space.set8(here, VENDOR_CAPABILITY)
    space.set8(here + 2, capability.capLength)
    space.set8(here + 3, capability.type)
    space.set8(here + 4, capability.bar)
    space.set32(here + 8, capability.offset)
    space.set32(here + 12, capability.length)
    space.bytes.set(capability.extra, here + CAPABILITY_LENGTH)
    if (capability.type === Cap.PCI) window = here
  }
  let msix: number | undefined
  if (plan.msixEntries > 0) {
    msix = chain(12)
    space.set8(msix, MSIX_CAPABILITY)
    space.set16(msix + 2, plan.msixEntries - 1)
    space.set32(msix + 4, MSIX_BAR)
    space.set32(msix + 8, PENDING_OFFSET | MSIX_BAR)
    space.allow(msix + 2, 2, 0xc000)
  }
  if (at.length > 0) space.set16(PciHeader.STATUS, PciHeader.STATUS_CAPABILITIES)
  for (const change of plan.finish) change(space.bytes, at)
  return { space, window, msix }
}

function powerOfTwo(length: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(length, 1)))
}
