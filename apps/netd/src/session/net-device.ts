import {
  alreadyBound,
  type BenchPlan,
  benchNames,
  benchParts,
  type DeviceKind,
  formatOptions,
  type HostFunctionUser,
  type QemuLocator,
} from '@virtio-ts/device-locator'
import { DeviceType } from '@virtio-ts/spec'
import { parseMac } from '../packets/ethernet-frame.ts'

/** The id of the bench's network device, for QMP. */
export const nicId = 'nic0'

/** What a network device's front-end decides where a vhost-user back-end leaves it to it. */
export interface VhostUserNet {
  /** `52:54:00:12:34:56` */
  readonly mac?: string
  readonly mtu?: number
}

/** A bench with the locator's device and back-end; user networking when it names none. */
export function netBench(locator: QemuLocator): BenchPlan {
  const { device, properties, netdev = { kind: 'user', options: {} } } = locator
  return {
    options: {
      ...benchParts({ ...locator, netdev }),
      devices: [`${device},id=${nicId},netdev=${benchNames.netdev}${formatOptions(properties)}`],
    },
    functionId: nicId,
  }
}

/**
 * The devices that netd drives.
 * @param hostFunction how functions of this machine are taken
 */
export function netDevice({ mac, mtu }: VhostUserNet = {}, hostFunction: HostFunctionUser = alreadyBound): DeviceKind {
  return {
    name: 'net',
    deviceType: DeviceType.NETWORK,
    model: async (options) => (await (await import('./open-model.ts')).openModel(options)).fn,
    bench: netBench,
    vhostUser: {
      net: { ...(mac === undefined ? {} : { mac: parseMac(mac) }), ...(mtu === undefined ? {} : { mtu }) },
    },
    hostFunction,
    examples: ['model:net', 'qemu:virtio-net-pci', 'vhost-user:/path/to/socket', 'vfio:0000:00:04.0'],
  }
}
