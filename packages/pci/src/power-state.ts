import { type PciCapability, PciCapabilityId } from './capability-list.ts'
import type { PciConfigReader } from './pci-config.ts'

/** Register of the power management capability, and its bits that hold the state: 0 is fully on. */
const CONTROL = 4
const STATE = 0b11

/** Whether the function is fully on (D0): in any other state its registers do not answer. */
export function isFullyOn(fn: PciConfigReader, capabilities: readonly PciCapability[]): boolean {
  const power = capabilities.find(({ id }) => id === PciCapabilityId.POWER_MANAGEMENT)
  return power === undefined || (fn.configRead16(power.offset + CONTROL) & STATE) === 0
}
