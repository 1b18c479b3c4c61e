import type { Transport } from '@virtio-ts/core'
import {
  findMsix,
  isMsixEnabled,
  type MsixCapability,
  type PciCapability,
  type PciFunction,
  walkCapabilities,
} from '@virtio-ts/pci'
import { VirtioError } from '@virtio-ts/spec'
import { goneError, toVirtioError } from './bus-error.ts'
import { type DeviceIdentity, identifyDevice } from './device-identity.ts'
import { LegacyRegisters } from './legacy-registers.ts'
import { ModernRegisters } from './modern-registers.ts'
import { PciTransport } from './pci-transport.ts'
import type { RegisterSet } from './register-set.ts'
import { findStructures } from './virtio-structures.ts'

export interface AttachOptions {
  /**
   * `modern` or `legacy` asks for that one. `auto` takes the modern interface wherever the device has it, and the legacy
   * one only where there is no modern capability at all.
   * @defaultValue 'auto'
   */
  readonly interface?: 'auto' | 'modern' | 'legacy'
  /** Milliseconds that a reset may take. @defaultValue 5000 */
  readonly resetTimeout?: number
}

const DEFAULT_RESET_TIMEOUT = 5000

/** Recognises virtio devices among PCI functions and makes transports for them. */
export class VirtioPciDriver {
  /**
   * What virtio device the function is, or undefined when it is none.
   * @throws VirtioError `device.gone`
   */
  static match(fn: PciFunction): DeviceIdentity | undefined {
    return inVirtioWords(fn, () => identifyDevice(fn))
  }

  /**
   * Makes a transport for a function. The function stays the caller's, who closes it after the transport. Until the
   * transport's first confirmed reset the device has no access to memory.
   * @throws VirtioError `transport.not-virtio`, `transport.no-modern`, `transport.no-legacy`, `pci.bar-too-small`,
   * `pci.no-bar`, `pci.cap-loop`, `pci.cap-bounds`, `transport.misaligned`, `device.gone`
   */
  static async attach(fn: PciFunction, options: AttachOptions = {}): Promise<Transport> {
    const resetTimeout = options.resetTimeout ?? DEFAULT_RESET_TIMEOUT
    if (!(resetTimeout >= 0)) throw new RangeError(`resetTimeout ${resetTimeout} is not a number of milliseconds`)
    return inVirtioWords(fn, () => {
      if (fn.gone) throw goneError(fn.address)
      const capabilities = walkCapabilities(fn)
      const identity = identifyDevice(fn)
      if (!identity) throw notVirtio(fn)
      const msix = findMsix(fn, capabilities)
      const registers = chooseRegisters(fn, identity, capabilities, msix, options.interface ?? 'auto')
      // A program that was killed may have left the device at work, with its interrupts and its queues.
      fn.setBusMaster(false)
      if (msix && isMsixEnabled(fn, msix)) fn.disableMsix()
      return new PciTransport(fn, registers, identity.deviceType, { resetTimeout })
    })
  }
}

/** @see VIRTIO 1.3 § 4.1.5.1.1.1 "Legacy Interface: A Note on Device Layout Detection" */
function chooseRegisters(
  fn: PciFunction,
  identity: DeviceIdentity,
  capabilities: readonly PciCapability[],
  msix: MsixCapability | undefined,
  wanted: 'auto' | 'modern' | 'legacy',
): RegisterSet {
  if (wanted !== 'legacy') {
    const structures = findStructures(fn, capabilities)
    if (structures) return new ModernRegisters(structures, fn.address)
    if (wanted === 'modern') {
      throw new VirtioError(
        'transport.no-modern',
        `${fn.address} has no virtio capabilities: it is a legacy device; use interface: 'legacy' or 'auto'`,
        { device: fn.address },
      )
    }
  }
  if (!identity.maybeLegacy) {
    throw new VirtioError(
      'transport.no-legacy',
      `${fn.address} has no legacy interface: its device ID or revision is a modern device's; use interface: 'modern'`,
      { device: fn.address },
    )
  }
  return new LegacyRegisters(fn, msix)
}

function notVirtio(fn: PciFunction): VirtioError {
  const hex = (value: number): string => value.toString(16).padStart(4, '0')
  return new VirtioError(
    'transport.not-virtio',
    `${fn.address} is no virtio device: its IDs are ${hex(fn.configRead16(0))}:${hex(fn.configRead16(2))}, virtio's are 1af4:1000 to 1af4:107f; check the address`,
    { device: fn.address },
  )
}

function inVirtioWords<Result>(fn: PciFunction, body: () => Result): Result {
  try {
    return body()
  } catch (error) {
    throw toVirtioError(error, fn.address)
  }
}
