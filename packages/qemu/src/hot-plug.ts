import { PciCapabilityId, walkCapabilities } from '@virtio-ts/pci'
import type { FunctionConfig } from './function-config.ts'
import type { PlacedFunction } from './pci-topology.ts'
import type { MachineName } from './qemu-bench-options.ts'
import { QemuError } from './qemu-error.ts'
import type { Qtest } from './qtest.ts'

// Registers of ACPI's hot-plug on the pc machine.
const ACPI_EJECT = 0xae08
const ACPI_SELECT_BUS = 0xae10

// Registers of the PCI Express capability of a port, and their bits.
const SLOT_CONTROL = 0x18
const SLOT_STATUS = 0x1a
const SLOT_POWER_OFF = 0x0400
const SLOT_INDICATOR = 0x0300
const SLOT_INDICATOR_ON = 0x0100
const SLOT_INDICATOR_OFF = 0x0300
/** All bits of the status register that are cleared by writing them. */
const SLOT_EVENTS = 0x011f

/** Switches a PCI Express slot on: what is plugged in becomes visible. @throws QemuError `qemu.no-hot-plug` */
export function powerSlotOn(port: FunctionConfig): void {
  changeSlot(port, SLOT_INDICATOR_ON, SLOT_POWER_OFF | SLOT_INDICATOR)
}

/**
 * Lets a function go that QEMU has been asked to unplug: switches its slot off, or ejects it by ACPI, as an operating system
 * would.
 * @throws QemuError `qemu.no-hot-plug` where it sits on neither kind of slot
 */
export function ejectFunction(machine: MachineName, qtest: Qtest, { bus, number }: PlacedFunction): void {
  if (bus.bridge !== undefined) {
    changeSlot(bus.bridge.config, SLOT_POWER_OFF | SLOT_INDICATOR_OFF, 0)
  } else if (machine === 'pc') {
    qtest.write('io', 32, ACPI_SELECT_BUS, 0)
    qtest.write('io', 32, ACPI_EJECT, 2 ** (number >> 3))
  } else {
    throw new QemuError('qemu.no-hot-plug', 'q35 has hot-plug behind a pcie-root-port only: put the device there')
  }
}

function changeSlot(port: FunctionConfig, set: number, clear: number): void {
  const express = walkCapabilities(port).find(({ id }) => id === PciCapabilityId.PCI_EXPRESS)?.offset
  if (express === undefined) {
    throw new QemuError('qemu.no-hot-plug', 'this bridge has no PCI Express slot: use a pcie-root-port')
  }
  port.change16(express + SLOT_CONTROL, set, clear)
  port.configWrite16(express + SLOT_STATUS, SLOT_EVENTS)
}
