import type { PlannedCapability } from '../pci/function-plan.ts'
import type { DeviceMoments } from '../device-profile.ts'
import { type Misdeed, misdeed } from './hostile-script.ts'

const COMMON = 1
const NEXT = 1

/** The capability of structure type `value`, or the common configuration's. */
function chosen(plan: DeviceMoments['build'], value: number | undefined): PlannedCapability | undefined {
  return plan.capabilities.find((capability) => capability.type === (value ?? COMMON))
}

const change = (apply: (capability: PlannedCapability, plan: DeviceMoments['build']) => void): Misdeed =>
  misdeed('build', (plan, { value }) => {
    const capability = chosen(plan, value)
    if (capability) apply(capability, plan)
  })

export type HostileCapabilityKind =
  | 'caps-loop'
  | 'caps-stray'
  | 'caps-end'
  | 'caps-out-of-bar'
  | 'caps-overflow'
  | 'caps-bad-bar'
  | 'caps-no-bar'
  | 'caps-short'
  | 'caps-length'
  | 'caps-missing'
  | 'bar-too-small'
  | 'caps-unknown-first'

/** Misdeeds in PCI configuration space; `value` names the structure type they strike, the common configuration when left out. */
export const hostileCapabilities: Readonly<Record<HostileCapabilityKind, Misdeed>> = {
  /** The list of capabilities leads back to its beginning. */
  'caps-loop': misdeed('build', ({ finish }) => {
    finish.push((space, at) => {
      space[(at[at.length - 1] ?? 0) + NEXT] = at[0] ?? 0
    })
  }),
  /** The list leads to an address in the header, and from there anywhere. */
  'caps-stray': misdeed('build', ({ finish }) => {
    finish.push((space, at) => {
      space[(at[0] ?? 0) + NEXT] = 0x13
    })
  }),
  /** The list leads right to the end of configuration space, where no capability fits. */
  'caps-end': misdeed('build', ({ finish }) => {
    finish.push((space, at) => {
      space[(at[0] ?? 0) + NEXT] = 0xfc
      space[0xfc] = 0x09
    })
  }),
  /** A structure begins inside its BAR and ends outside. */
  'caps-out-of-bar': change((capability, { bars }) => {
    capability.offset = (bars.get(capability.bar)?.length ?? 0x1000) - 4
  }),
  /** Offset and length together pass 2^32. */
  'caps-overflow': change((capability) => {
    capability.offset = 0xfffffff0
    capability.length = 0x100
  }),
  /** A BAR that does not exist: reserved by the specification. */
  'caps-bad-bar': change((capability) => {
    capability.bar = 6
  }),
  /** A BAR that this function does not have. */
  'caps-no-bar': change((capability) => {
    capability.bar = 3
  }),
  /** A cap_len that ends before the structure's place is told. */
  'caps-short': change((capability) => {
    capability.capLength = 8
  }),
  /** A structure shorter than its fields. */
  'caps-length': change((capability) => {
    capability.length = 1
  }),
  /** A structure that is not there at all. */
  'caps-missing': change((capability, plan) => {
    plan.capabilities = plan.capabilities.filter((other) => other !== capability)
  }),
  /** The BAR is shorter than what the capabilities say it holds. */
  'bar-too-small': change((capability, { bars }) => {
    const bar = bars.get(capability.bar)
    if (bar) bar.length = 16
  }),
  /** A structure type that nobody knows comes first, in the place of a real one: to be passed over. */
  'caps-unknown-first': misdeed('build', (plan) => {
    const [capability] = plan.capabilities
    if (capability) plan.capabilities.unshift({ ...capability, type: 0x7f, extra: new Uint8Array(0) })
  }),
}
