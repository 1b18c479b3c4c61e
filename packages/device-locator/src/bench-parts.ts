import type { QemuBenchOptions } from '@virtio-ts/qemu'
import { escapeCommas, formatOptions } from './locator-options.ts'
import type { QemuLocator } from './locator.ts'

/** How the parts of a bench are called; devices refer to them by these names. */
export const benchNames = { netdev: 'net0', drive: 'drive0', chardev: 'char0' } as const

/** How QEMU spells each back-end; what the locator adds comes behind. */
const netdevArguments = {
  user: `user,id=${benchNames.netdev}`,
  tap: `tap,id=${benchNames.netdev},script=no,downscript=no,vhost=off`,
  hub: `hubport,id=${benchNames.netdev},hubid=0`,
  stream: `stream,id=${benchNames.netdev}`,
} as const

/** What a locator says about the bench around its device: back-ends, and the machine. Without the device itself. */
export function benchParts(locator: QemuLocator): Omit<QemuBenchOptions, 'devices'> {
  const { netdev, drive, chardev, machine } = locator
  return {
    ...(netdev ? { netdevs: [`${netdevArguments[netdev.kind]}${formatOptions(netdev.options)}`] } : {}),
    ...(drive
      ? {
          drives: [`if=none,id=${benchNames.drive},file=${escapeCommas(drive.path)}${formatOptions(drive.options)}`],
        }
      : {}),
    ...(chardev
      ? {
          chardevs: [
            `socket,id=${benchNames.chardev},path=${escapeCommas(chardev.path)}${formatOptions(chardev.options)}`,
          ],
        }
      : {}),
    ...(machine ? { machine } : {}),
  }
}
