import { NetHeader, VirtioError } from '@virtio-ts/spec'
import type { NetHeaderLength } from './net-header.ts'
import { ETHERNET_HEADER, MAX_GSO_FRAME, MAX_VLAN_TAGS, VLAN_TAG } from './net-limits.ts'

/** Equal buffers in a row: buffer i starts at `offset + i * stride`. Bytes. */
export interface BufferRow {
  readonly offset: number
  readonly stride: number
  /** Bytes of each that are used. */
  readonly length: number
  readonly count: number
}

/** Where everything is in the one stretch of memory that holds a device's packets. */
export interface PacketLayout {
  readonly receive: BufferRow
  /** For frames of up to the MTU. */
  readonly small: BufferRow
  /** Bytes in front of each frame of the rows to transmit. */
  readonly headroom: number
  /** For packets the device will segment; may be empty. */
  readonly large: BufferRow
  /** Bytes in all. */
  readonly length: number
}

export interface PacketLayoutOptions {
  readonly headerLength: NetHeaderLength
  /** Longest frame that is not to be segmented, without VLAN tags. */
  readonly maxFrame: number
  readonly receiveSegmentation: boolean
  readonly transmitSegmentation: boolean
  readonly mergeable: boolean
  /** Chains the queues can hold. */
  readonly receiveChains: number
  readonly transmitChains: number
  readonly receiveBuffers?: number | undefined
  readonly receiveBufferLength?: number | undefined
  readonly transmitBuffers?: number | undefined
  readonly largeTransmitBuffers?: number | undefined
}

/** Bytes in front of each frame to transmit: room for its header, and a round offset for the frame. */
export function headroom(headerLength: NetHeaderLength): number {
  return headerLength > SHORT_HEADROOM ? LONG_HEADROOM : SHORT_HEADROOM
}

const SHORT_HEADROOM = 16
const LONG_HEADROOM = 32

/** VIRTIO 1.3 § 5.1.6.3.1 "Driver Requirements: Setting Up Receive Buffers": at least this and the header, whatever the MTU. */
const MIN_RECEIVE_FRAME = 1514
/** The default where packets may span buffers: an ordinary frame fits, and the stride is no power of two (cache sets). */
const MERGEABLE_BUFFER = 2112
const MIN_MERGEABLE_BUFFER = 64
/** Where each buffer takes more than this, the queue is not filled to the brim. */
const LARGE_RECEIVE_BUFFER = 16384
const DEFAULT_LARGE_RECEIVE_BUFFERS = 64
const DEFAULT_TRANSMIT_BUFFERS = 256
const DEFAULT_LARGE_TRANSMIT_BUFFERS = 32
const SMALL_FRAME = 2048
/** Longer frames than this are sent from large buffers: jumbo frames still have a row of their own. */
const MAX_SMALL_FRAME = 9216
const ALIGNMENT = 64

/**
 * @throws RangeError for a count or length that cannot be
 * @see VIRTIO 1.3 § 5.1.6.3.1 "Driver Requirements: Setting Up Receive Buffers"
 */
export function layOutPackets(options: PacketLayoutOptions): PacketLayout {
  const receive = receiveRow(options)
  const tagged = options.maxFrame + MAX_VLAN_TAGS * VLAN_TAG
  const smallFrame = tagged <= MAX_SMALL_FRAME ? Math.max(SMALL_FRAME, tagged) : SMALL_FRAME
  const room = headroom(options.headerLength)
  const small = row(
    receive.offset + receive.stride * receive.count,
    room + smallFrame,
    chosen('transmitBuffers', options.transmitBuffers, DEFAULT_TRANSMIT_BUFFERS, options.transmitChains),
  )
  const needsLarge = options.transmitSegmentation || tagged > MAX_SMALL_FRAME
  const large = row(
    small.offset + small.stride * small.count,
    room + MAX_GSO_FRAME,
    needsLarge
      ? chosen(
          'largeTransmitBuffers',
          options.largeTransmitBuffers,
          DEFAULT_LARGE_TRANSMIT_BUFFERS,
          options.transmitChains,
        )
      : 0,
  )
  const length = large.offset + large.stride * large.count
  if (length > 0x7fffffff) throw new RangeError(`${length} bytes of packet buffers: use fewer or shorter ones`)
  return { receive, small, large, headroom: room, length }
}

/**
 * Chains a queue holds when each has `buffers` buffers.
 * @throws VirtioError `net.queue-size` when that is none
 */
export function chainsOf(size: number, buffers: number, indirect: boolean): number {
  const chains = indirect && size >= buffers ? size : Math.floor(size / buffers)
  if (chains > 0) return chains
  throw new VirtioError('net.queue-size', `a queue of ${size} descriptors cannot hold a packet, which takes ${buffers}`)
}

function receiveRow(options: PacketLayoutOptions): BufferRow {
  const { headerLength, maxFrame, receiveSegmentation, mergeable, receiveChains } = options
  const frame = receiveSegmentation ? MAX_GSO_FRAME : maxFrame + MAX_VLAN_TAGS * VLAN_TAG
  const packet = Math.max(headerLength + frame, Math.max(headerLength, NetHeader.LENGTH) + MIN_RECEIVE_FRAME)
  if (!mergeable) {
    const usual = packet > LARGE_RECEIVE_BUFFER ? DEFAULT_LARGE_RECEIVE_BUFFERS : receiveChains
    return row(0, packet, chosen('receiveBuffers', options.receiveBuffers, usual, receiveChains))
  }
  const wanted = options.receiveBufferLength ?? MERGEABLE_BUFFER
  if (!(Number.isInteger(wanted) && wanted >= MIN_MERGEABLE_BUFFER && wanted <= 0x10000)) {
    throw new RangeError(`receiveBufferLength ${wanted} is not an integer from ${MIN_MERGEABLE_BUFFER} to 65536`)
  }
  const count = chosen('receiveBuffers', options.receiveBuffers, receiveChains, receiveChains)
  // All of them together must take the longest packet, or a short queue could never receive it.
  return row(0, Math.max(wanted, Math.ceil(packet / count)), count)
}

function row(offset: number, length: number, count: number): BufferRow {
  let stride = Math.ceil(length / ALIGNMENT) * ALIGNMENT
  while (Number.isInteger(Math.log2(stride))) stride += ALIGNMENT
  return { offset, stride, length, count }
}

function chosen(name: string, wanted: number | undefined, usual: number, most: number): number {
  if (wanted === undefined) return Math.min(usual, most)
  if (!(Number.isInteger(wanted) && wanted >= 1)) throw new RangeError(`${name} ${wanted} is not a positive integer`)
  return Math.min(wanted, most)
}

/** Longest frame, without tags, of a given MTU. */
export function frameLength(mtu: number): number {
  return mtu + ETHERNET_HEADER
}
