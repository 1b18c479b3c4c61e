import { QemuBench } from '@virtio-ts/qemu'
import { escapeCommas, formatOptions } from '../locator-options.ts'
import type { QemuLocator, QemuNetdevKind } from '../locator.ts'
import type { OpenedDevice } from './opened-device.ts'
import { pciDevice } from './pci-device.ts'

/** The id of the bench's network device, for QMP. */
export const nicId = 'nic0'
const netdevId = 'net0'

/** How QEMU spells each back-end; what the locator adds comes behind. */
const netdevArguments: Readonly<Record<QemuNetdevKind, string>> = {
  user: `user,id=${netdevId}`,
  tap: `tap,id=${netdevId},script=no,downscript=no,vhost=off`,
  hub: `hubport,id=${netdevId},hubid=0`,
  stream: `stream,id=${netdevId}`,
}

/** Starts a bench with the locator's device and back-end; user networking when it names none. @throws QemuError */
export async function openBench(locator: QemuLocator): Promise<OpenedDevice & { readonly bench: QemuBench }> {
  const { kind, options } = locator.netdev ?? { kind: 'user', options: {} }
  const bench = await QemuBench.start({
    devices: [`${locator.device},id=${nicId},netdev=${netdevId}${formatOptions(locator.properties)}`],
    netdevs: [`${netdevArguments[kind]}${formatOptions(options)}`],
    ...(locator.machine ? { machine: locator.machine } : {}),
    ...(locator.drive
      ? { drives: [`file=${escapeCommas(locator.drive.path)}${formatOptions(locator.drive.options)}`] }
      : {}),
    ...(locator.chardev
      ? {
          chardevs: [
            `socket,id=char0,path=${escapeCommas(locator.chardev.path)}${formatOptions(locator.chardev.options)}`,
          ],
        }
      : {}),
  })
  try {
    return { ...pciDevice(bench.function(nicId)), bench, release: () => bench.close() }
  } catch (error) {
    await bench.close()
    throw error
  }
}
