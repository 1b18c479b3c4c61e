import { DeviceType } from '@virtio-ts/spec'
import { VhostUserEndpoint } from '@virtio-ts/transport-vhost-user'
import type { VhostUserLocator } from '../locator.ts'
import { parseMac } from '../packets/ethernet-frame.ts'
import type { OpenedDevice } from './opened-device.ts'

/** What a network device's front-end decides where the back-end leaves it to it. */
export interface VhostUserNet {
  /** `52:54:00:12:34:56` */
  readonly mac?: string
  readonly mtu?: number
}

/** The network device of a vhost-user back-end. Nobody has connected to it yet. */
export function openVhostUser({ path, server }: VhostUserLocator, { mac, mtu }: VhostUserNet): OpenedDevice {
  const net = { ...(mac === undefined ? {} : { mac: parseMac(mac) }), ...(mtu === undefined ? {} : { mtu }) }
  const endpoint = new VhostUserEndpoint({ path, server, deviceType: DeviceType.NETWORK, net })
  return {
    identity: { socket: { path, listens: server ? 'front-end' : 'back-end' } },
    reconnects: true,
    handsOverQueues: true,
    attach: (options) => endpoint.connect(options),
    release: () => endpoint.close(),
  }
}
