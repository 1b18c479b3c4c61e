// @ts-check
import { DeviceType } from '@virtio-ts/spec'
import { VhostUserEndpoint } from '@virtio-ts/transport-vhost-user'

/**
 * What DPDK's driver does without when it is fastest, so that both do the same work: packets in one buffer, nothing left to the device.
 */
export const plain = [
  ...[
    'MRG_RXBUF',
    'CSUM',
    'GUEST_CSUM',
    'CTRL_GUEST_OFFLOADS',
    'EVENT_IDX',
    'INDIRECT_DESC',
    'STATUS',
    'GUEST_ANNOUNCE',
  ],
  ...['GUEST_TSO4', 'GUEST_TSO6', 'GUEST_ECN', 'GUEST_UFO', 'HOST_TSO4', 'HOST_TSO6', 'HOST_ECN', 'HOST_UFO', 'MTU'],
]

/** @param {string} path of the back-end's socket @returns {Promise<import('@virtio-ts/core').Transport>} */
export function openTransport(path) {
  return new VhostUserEndpoint({ path, deviceType: DeviceType.NETWORK, memory: { hugepages: true } }).connect()
}
