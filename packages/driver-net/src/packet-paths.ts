import type { VirtioDevice } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'
import { netHeaderLength } from './net-header.ts'
import { DEFAULT_MTU, MAX_GSO_FRAME } from './net-limits.ts'
import { hasSegmentation, type NetOffloads, receiveOffloads, transmitOffloads } from './net-offloads.ts'
import { DEFAULT_MINIMUM_GSO_SIZE, type NetOptions } from './net-options.ts'
import type { NetDriverFeature, NetQueue } from './net-spec.ts'
import { chainsOf, frameLength, layOutPackets } from './packet-layout.ts'
import { ReceivePath } from './receive-path.ts'
import { RECEIVED_HEAD_LENGTH } from './received-packet.ts'
import { TransmitPath } from './transmit-path.ts'

/** Everything packets need, made once for a device. */
export interface PacketPaths {
  readonly memory: DmaRegion
  readonly headerLength: 10 | 12
  readonly mtu: number
  readonly offloads: { readonly transmit: NetOffloads; readonly receive: NetOffloads }
  readonly receive: ReceivePath
  readonly transmit: TransmitPath
}

/**
 * @param deviceMtu where MTU was negotiated
 * @throws VirtioError `net.queue-size`; RangeError for options that cannot be; DmaError `memory.exhausted`
 */
export function makePacketPaths(
  device: VirtioDevice<NetDriverFeature, NetQueue>,
  deviceMtu: number | undefined,
  options: NetOptions,
): PacketPaths {
  const { features, legacy } = device
  const receiveQueue = device.queue('receiveq1')
  const transmitQueue = device.queue('transmitq1')
  const mergeable = features.has('MRG_RXBUF')
  const headerLength = netHeaderLength(legacy, mergeable)
  // VIRTIO 1.3 § 5.1.6.6 "Legacy Interface: Framing Requirements": without ANY_LAYOUT the header has a descriptor of its own.
  const splitHeader = legacy && !features.has('ANY_LAYOUT')
  const indirect = features.has('INDIRECT_DESC')
  const descriptors = splitHeader ? 2 : 1
  const receiveChains = chainsOf(receiveQueue.size, descriptors, indirect)
  const transmitChains = chainsOf(transmitQueue.size, descriptors, indirect)
  const offloads = { transmit: transmitOffloads(features), receive: receiveOffloads(features) }
  const mtu = Math.min(options.mtu ?? deviceMtu ?? DEFAULT_MTU, deviceMtu ?? Infinity)
  // Others on the network may have a larger MTU than the owner wants for itself.
  const receiveFrame = frameLength(deviceMtu ?? Math.max(mtu, DEFAULT_MTU))
  const layout = layOutPackets({
    headerLength,
    maxFrame: receiveFrame,
    receiveSegmentation: hasSegmentation(offloads.receive),
    transmitSegmentation: hasSegmentation(offloads.transmit),
    mergeable,
    receiveChains,
    transmitChains,
    receiveBuffers: options.receiveBuffers,
    receiveBufferLength: options.receiveBufferLength,
    transmitBuffers: options.transmitBuffers,
    largeTransmitBuffers: options.largeTransmitBuffers,
  })
  const memory = device.allocate(layout.length, 4096)
  const where = { device: device.location, generation: device.generation }
  const receive = new ReceivePath({
    ...where,
    queue: receiveQueue,
    memory,
    buffers: layout.receive,
    headerLength,
    mergeable,
    splitHeader,
    strict: (options.trust ?? (legacy ? 'tolerant' : 'strict')) === 'strict',
    head: options.head ?? new Uint8Array(RECEIVED_HEAD_LENGTH),
    policy: {
      offloads: offloads.receive,
      maxFrame: receiveFrame,
      minimumGsoSize: options.minimumGsoSize ?? DEFAULT_MINIMUM_GSO_SIZE,
      trustChecksums: options.trustChecksums ?? false,
    },
  })
  const transmit = new TransmitPath({
    queue: transmitQueue,
    memory,
    small: layout.small,
    large: layout.large,
    chains: transmitChains,
    headerLength,
    splitHeader,
    notified: device.interrupts !== 'none',
    policy: {
      offloads: offloads.transmit,
      // Without MTU the device says nothing of a limit, and what a slot takes is one.
      maxFrame: deviceMtu === undefined ? MAX_GSO_FRAME : frameLength(mtu),
      minimumGsoSize: 1,
      trustChecksums: false,
    },
  })
  return { memory, headerLength, mtu, offloads, receive, transmit }
}
