import { CommandError } from '@virtio-ts/command-line'
import {
  type BenchPlan,
  benchNames,
  benchParts,
  alreadyBound,
  type DeviceKind,
  formatLocator,
  formatOptions,
  type QemuLocator,
} from '@virtio-ts/device-locator'
import { DeviceType } from '@virtio-ts/spec'

/** The ids of the bench's device and of its port, for QMP. */
export const serialId = 'serial0'
export const portId = 'port0'

/** What QEMU plugs into a virtio-serial device. */
const portDevices: readonly string[] = ['virtconsole', 'virtserialport']

/**
 * A bench with a virtio-serial device and one port, at whose other end is the locator's socket. A locator that names a port
 * (`virtserialport`) gives that its properties, one that names a device gets a console.
 * @throws CommandError `locator.option` without a socket
 */
export function consoleBench(locator: QemuLocator): BenchPlan {
  const { device, properties, chardev } = locator
  if (!chardev)
    throw new CommandError('locator.option', `${formatLocator(locator)} has nothing at the other end of its port`, {
      why: 'QEMU connects a port to a Unix socket: ;chardev=PATH connects to one, with ,server=on,wait=off QEMU makes it',
      fix: `"${formatLocator({ ...locator, chardev: { path: '/tmp/con0.sock', options: { server: 'on', wait: 'off' } } })}"`,
    })
  const given = formatOptions(properties)
  const [carrier, port] = portDevices.includes(device)
    ? [`virtio-serial-pci,id=${serialId}`, `${device},id=${portId},chardev=${benchNames.chardev}${given}`]
    : [`${device},id=${serialId}${given}`, `virtconsole,id=${portId},chardev=${benchNames.chardev}`]
  return { options: { ...benchParts(locator), devices: [carrier, port] }, functionId: serialId }
}

/** The devices that vcon drives. */
export const consoleDevice: DeviceKind = {
  name: 'console',
  deviceType: DeviceType.CONSOLE,
  model: async (options) => (await import('./echo-console.ts')).echoConsole(options),
  bench: consoleBench,
  hostFunction: alreadyBound,
  examples: ['model:console', '"qemu:virtio-serial-pci;chardev=/tmp/con0.sock,server=on,wait=off"'],
}
