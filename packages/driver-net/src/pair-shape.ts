import type { VirtioDevice } from '@virtio-ts/core'
import { type NetHeaderLength, netHeaderLength } from './net-header.ts'
import { DEFAULT_MTU, MAX_GSO_FRAME } from './net-limits.ts'
import { hasSegmentation, type NetOffloads, receiveOffloads, transmitOffloads } from './net-offloads.ts'
import { DEFAULT_MINIMUM_GSO_SIZE, DEFAULT_TRANSMIT_TIMEOUT, type NetOptions } from './net-options.ts'
import { type NetDriverFeature, type NetQueue, receiveQueueName, transmitQueueName } from './net-spec.ts'
import { chainsOf, frameLength, layOutPackets, type PacketLayout } from './packet-layout.ts'
import type { NetHeaderPolicy } from './validate-net-header.ts'

/** All there is to know of a queue pair besides its queues and its memory: plain data, which another thread can be given. */
export interface PairShape {
  /** From 0. */
  readonly index: number
  readonly device: string
  readonly generation: number
  readonly mtu: number
  readonly headerLength: NetHeaderLength
  readonly offloads: { readonly transmit: NetOffloads; readonly receive: NetOffloads }
  /** Packets may span buffers. */
  readonly mergeable: boolean
  /** The header goes into a descriptor of its own. */
  readonly splitHeader: boolean
  /** num_buffers of 0 breaks the queue, rather than costing a packet. */
  readonly strict: boolean
  /** The device notifies of used buffers; where not, the pair is polled. */
  readonly notified: boolean
  /** Chains the transmit queue holds. */
  readonly transmitChains: number
  readonly layout: PacketLayout
  readonly receivePolicy: NetHeaderPolicy
  readonly transmitPolicy: NetHeaderPolicy
  /** Milliseconds between two looks of the watchdog; 0 for none. */
  readonly interval: number
  readonly transmitTimeout: number
}

const INTERVAL = 1000
const POLLED_INTERVAL = 100

/**
 * @param deviceMtu where MTU was negotiated
 * @throws VirtioError `net.queue-size`; RangeError for options that cannot be
 */
export function shapePair(
  device: VirtioDevice<NetDriverFeature, NetQueue>,
  index: number,
  deviceMtu: number | undefined,
  options: NetOptions,
): PairShape {
  const { features, legacy } = device
  const mergeable = features.has('MRG_RXBUF')
  const headerLength = netHeaderLength(legacy, mergeable, features.has('HASH_REPORT'))
  // VIRTIO 1.3 § 5.1.6.6 "Legacy Interface: Framing Requirements": without ANY_LAYOUT the header has a descriptor of its own.
  const splitHeader = legacy && !features.has('ANY_LAYOUT')
  const indirect = features.has('INDIRECT_DESC')
  const descriptors = splitHeader ? 2 : 1
  const receiveChains = chainsOf(device.queue(receiveQueueName(index)).size, descriptors, indirect)
  const transmitChains = chainsOf(device.queue(transmitQueueName(index)).size, descriptors, indirect)
  const offloads = { transmit: transmitOffloads(features), receive: receiveOffloads(features) }
  const mtu = Math.min(options.mtu ?? deviceMtu ?? DEFAULT_MTU, deviceMtu ?? Infinity)
  // Others on the network may have a larger MTU than the owner wants for itself.
  const receiveFrame = frameLength(deviceMtu ?? Math.max(mtu, DEFAULT_MTU))
  const notified = device.interrupts !== 'none'
  return {
    index,
    device: device.location,
    generation: device.generation,
    mtu,
    headerLength,
    offloads,
    mergeable,
    splitHeader,
    strict: (options.trust ?? (legacy ? 'tolerant' : 'strict')) === 'strict',
    notified,
    transmitChains,
    layout: layOutPackets({
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
    }),
    receivePolicy: {
      offloads: offloads.receive,
      maxFrame: receiveFrame,
      minimumGsoSize: options.minimumGsoSize ?? DEFAULT_MINIMUM_GSO_SIZE,
      trustChecksums: options.trustChecksums ?? false,
    },
    transmitPolicy: {
      offloads: offloads.transmit,
      // Without MTU the device says nothing of a limit, and what a slot takes is one.
      maxFrame: deviceMtu === undefined ? MAX_GSO_FRAME : frameLength(mtu),
      minimumGsoSize: 1,
      trustChecksums: false,
    },
    interval: options.watchdog ?? (notified ? INTERVAL : POLLED_INTERVAL),
    transmitTimeout: options.transmitTimeout ?? DEFAULT_TRANSMIT_TIMEOUT,
  }
}
