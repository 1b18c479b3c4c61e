import { PciCapabilityId, walkCapabilities } from '@virtio-ts/pci'
import type { FunctionConfig } from './function-config.ts'

// Registers of the PCI Express capability, and their bits.
const DEVICE_CAPABILITIES = 4
const FLR_CAPABLE = 0x1000_0000
const DEVICE_CONTROL = 8
const INITIATE_FLR = 0x8000
/** How long a function may take for a reset (PCI Express: 100 ms); QEMU's are done at once. */
const DEADLINE_MS = 100

/**
 * What resets the function, or undefined when it has nothing of the kind. What it returns resolves to false when the function
 * has not come back; its addresses, command register and interrupts are lost in any case.
 */
export function functionLevelReset(config: FunctionConfig): (() => Promise<boolean>) | undefined {
  const express = walkCapabilities(config).find(({ id }) => id === PciCapabilityId.PCI_EXPRESS)?.offset
  if (express === undefined || (config.configRead32(express + DEVICE_CAPABILITIES) & FLR_CAPABLE) === 0)
    return undefined
  return async () => {
    config.change16(express + DEVICE_CONTROL, INITIATE_FLR, 0)
    const deadline = performance.now() + DEADLINE_MS
    while (!config.present) {
      if (performance.now() > deadline) return false
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    return true
  }
}
