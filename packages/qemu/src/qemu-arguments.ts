import { type DeviceOption, deviceOption } from './device-option.ts'
import type { QemuBenchOptions } from './qemu-bench-options.ts'

/** Where the child process has the descriptors it inherits; `first` is free for whatever comes after. */
export const ChildFd = { QTEST: 3, QMP: 4, RAM: 5, BIOS: 6, IVSHMEM: 7, FIRST_NETDEV: 8 } as const

/** The ivshmem device's id and place: out of the way, so that the user's devices get the first slots. */
export const IVSHMEM_ID = 'virtio-ts-ivshmem'
export const IVSHMEM_SLOT = 0x1e

const MiB = 0x10_0000
const GiB = 0x4000_0000
/** RAM below 4 GiB when the memory is above. */
const LOW_RAM: number = 64 * MiB
const HIGH_RAM_ADDRESS: number = 4 * GiB

/** Where RAM lies: which part of the file, at which address. The first MiB has holes (video memory, firmware) and is left alone. */
export interface RamLayout {
  readonly fileLength: number
  readonly offset: number
  readonly length: number
  readonly deviceAddress: number
}

/** @throws RangeError for a length that no machine takes */
export function ramLayout(options: Pick<QemuBenchOptions, 'memory' | 'highMemory'>): RamLayout {
  const length = options.memory ?? 64 * MiB
  if (!Number.isInteger(length) || length % 4096 !== 0 || length < 2 * MiB || length > 2 * GiB) {
    throw new RangeError(`memory of ${length} bytes: it must be a multiple of 4096 from 2 MiB to 2 GiB`)
  }
  if (options.highMemory === true) {
    return { fileLength: LOW_RAM + length, offset: LOW_RAM, length, deviceAddress: HIGH_RAM_ADDRESS }
  }
  return { fileLength: length, offset: MiB, length: length - MiB, deviceAddress: MiB }
}

/** @throws RangeError */
export function ivshmemVectors(options: Pick<QemuBenchOptions, 'ivshmemVectors'>): number {
  const count = options.ivshmemVectors ?? 64
  // A message names its vector in 8 bits.
  if (!Number.isInteger(count) || count < 0 || count > 256)
    throw new RangeError(`${count} vectors: 0 to 256 are possible`)
  return count
}

/** @throws TypeError for a device that is none, or an id given twice */
export function deviceOptions(devices: readonly string[]): DeviceOption[] {
  const all = devices.map((text, index) => deviceOption(text, `device${index}`))
  for (const [index, { id }] of all.entries()) {
    if (all.findIndex((other) => other.id === id) !== index) throw new TypeError(`two devices have the id '${id}'`)
  }
  return all
}

/** QEMU's arguments, without the binary. */
export function qemuArguments(options: QemuBenchOptions, devices: readonly DeviceOption[]): string[] {
  const ram = ramLayout(options)
  const vectors = ivshmemVectors(options)
  const machine = options.machine ?? 'q35'
  const each = (flag: string, values: readonly string[] = []): string[] => values.flatMap((value) => [flag, value])
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-accel', 'tcg'],
    ...['-machine', machineArgument(machine, options.highMemory === true)],
    ...['-m', `size=${ram.fileLength / 1024}k`],
    ...['-bios', `/proc/self/fd/${ChildFd.BIOS}`],
    '-object',
    `memory-backend-file,id=ram,size=${ram.fileLength},mem-path=/proc/self/fd/${ChildFd.RAM},share=on`,
    ...['-chardev', `socket,id=virtio-ts-qtest,fd=${ChildFd.QTEST}`],
    ...['-object', 'qtest,id=virtio-ts-qtest0,chardev=virtio-ts-qtest,log=none'],
    ...['-chardev', `socket,id=virtio-ts-qmp,fd=${ChildFd.QMP}`, '-mon', 'chardev=virtio-ts-qmp,mode=control'],
    // Root ports get native PCI Express hot-plug, whose registers are in the port, instead of ACPI's.
    ...(machine === 'q35' ? ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'] : []),
    ...(options.sandbox === false
      ? []
      : ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny']),
    ...(vectors === 0 ? [] : ivshmemArguments(vectors)),
    ...each('-object', options.objects),
    ...each('-chardev', options.chardevs),
    ...each('-drive', options.drives),
    ...netdevArguments(options.netdevs ?? []),
    ...devices.flatMap(({ text }) => ['-device', text]),
    ...(options.args ?? []),
  ]
}

function machineArgument(machine: 'q35' | 'pc', highMemory: boolean): string {
  const high = highMemory ? `,max-ram-below-4g=${LOW_RAM}` : ''
  // Without pit=off the timer's interrupt line would go up and down 18 times a second on the qtest wire.
  return machine === 'q35'
    ? `q35,pit=off,hpet=off,sata=off,smbus=off,memory-backend=ram${high}`
    : `pc,pit=off,hpet=off,memory-backend=ram${high}`
}

function ivshmemArguments(vectors: number): string[] {
  return [
    ...['-chardev', `socket,id=virtio-ts-ivshmem,fd=${ChildFd.IVSHMEM}`],
    '-device',
    `ivshmem-doorbell,chardev=virtio-ts-ivshmem,vectors=${vectors},id=${IVSHMEM_ID},addr=0x${IVSHMEM_SLOT.toString(16)}`,
  ]
}

function netdevArguments(netdevs: NonNullable<QemuBenchOptions['netdevs']>): string[] {
  let fd: number = ChildFd.FIRST_NETDEV
  return netdevs.flatMap((netdev) => [
    '-netdev',
    typeof netdev === 'string' ? netdev : `stream,id=${netdev.id},server=off,addr.type=fd,addr.str=${fd++}`,
  ])
}
