import { adoptVirtqueue, type QueueFile, type TransferredQueue, type VirtqueueStats } from '@virtio-ts/core'
import { deviceAddress } from '@virtio-ts/memory'
import { VirtioError } from '@virtio-ts/spec'
import type { NetHeaderFields, NetHeaderLength } from './net-header.ts'
import type { PacketMemory } from './packet-memory.ts'
import type { PairShape } from './pair-shape.ts'
import { QueuePairEngine } from './queue-pair-engine.ts'
import type { ReceivedPacket } from './received-packet.ts'

/** What went wrong, as data that survives a message to another thread. A `VirtioError` is one. */
export interface FaultReport {
  readonly code: string
  readonly message: string
  readonly detail?: Readonly<Record<string, string | number>>
}

/** What a pair has counted: plain data. */
export interface PairReport {
  readonly stats: Readonly<Record<string, number>>
  readonly receive: VirtqueueStats
  readonly transmit: VirtqueueStats
}

/**
 * A queue pair on its way to another thread: plain data, to be posted as it is. The descriptors of `receive` and `transmit` and the file of
 * `memory` are good in every thread of this process, and stay the owner's to close.
 */
export interface NetPairTransfer {
  readonly shape: PairShape
  readonly receive: TransferredQueue
  readonly transmit: TransferredQueue
  /** Where the packets are, as the device sees them. Bytes. */
  readonly packets: { readonly deviceAddress: number; readonly length: number }
  /** What the other thread maps, from the file's first byte: rings and packets lie in it. */
  readonly memory: QueueFile
}

export interface AdoptPairOptions {
  /** `transfer.memory` as this thread has mapped it. */
  readonly bytes: Uint8Array
  /** Where the device sees the first of these bytes: `transfer.memory.deviceAddress`, where they are the file's first. */
  readonly deviceAddress: number
  /** Send available buffer notifications. Must not throw. */
  readonly notifyReceive: () => void
  readonly notifyTransmit: () => void
  /** As `NetOptions.head`. */
  readonly head?: Uint8Array
  /** As the driver's `transmit-timeout`. */
  readonly onTransmitTimeout?: (inFlight: number) => void
}

export const DRAIN_TIMEOUT = 2000

/**
 * One receive and one transmit queue: the calls that move packets. Offsets are into `bytes`, slots are numbers, and the hot calls -
 * `receive`, `reserve`, `commit`, `publish` - allocate nothing. One thread uses a pair: the driver's, or the one it was transferred to.
 * @see VIRTIO 1.3 § 5.1.2 "Virtqueues"
 */
export class NetQueuePair {
  /** From 0: pair 0 has receiveq1 and transmitq1. */
  readonly index: number
  /** The memory of the pair's packets; every offset is into it. Not to be touched once the pair was stopped or the driver closed. */
  readonly bytes: Uint8Array
  readonly mtu: number
  /** Bytes of the header in front of each frame, on this device. */
  readonly headerLength: NetHeaderLength
  readonly #engine: QueuePairEngine
  readonly #receive: QueuePairEngine['receive']
  readonly #transmit: QueuePairEngine['transmit']
  readonly #handOver: (() => NetPairTransfer) | undefined
  #timer: NodeJS.Timeout | undefined

  /** @internal Pairs come from `NetDriver.pairs` and `NetQueuePair.adopt()`. */
  constructor(engine: QueuePairEngine, handOver?: () => NetPairTransfer) {
    this.#engine = engine
    this.#receive = engine.receive
    this.#transmit = engine.transmit
    this.#handOver = handOver
    this.index = engine.shape.index
    this.bytes = engine.memory.bytes
    this.mtu = engine.shape.mtu
    this.headerLength = engine.shape.headerLength
  }

  /**
   * Takes over a pair that the driver's thread gave away with `transfer()`, and gives the device its receive buffers. The thread that
   * adopts calls `receiveNotified()` and `transmitNotified()` when the descriptors of `transfer` say so, or `poll()` where the device is
   * polled; it carries faults to the owner (`onFault`, there `NetDriver.reportFault()`), and calls `stop()` before the owner closes.
   * @throws RangeError when the pair does not lie in the memory given
   */
  static adopt(transfer: NetPairTransfer, options: AdoptPairOptions): NetQueuePair {
    const { shape, packets } = transfer
    const mapped = { bytes: options.bytes, deviceAddress: options.deviceAddress }
    const receiveQueue = adoptVirtqueue(transfer.receive.queue, { memory: mapped, notify: options.notifyReceive })
    const transmitQueue = adoptVirtqueue(transfer.transmit.queue, { memory: mapped, notify: options.notifyTransmit })
    const engine = new QueuePairEngine({
      shape,
      memory: part(mapped, packets.deviceAddress, packets.length),
      receiveQueue,
      transmitQueue,
      head: options.head,
      onTransmitTimeout: options.onTransmitTimeout ?? (() => {}),
    })
    const queues = [receiveQueue, transmitQueue]
    for (const queue of queues) {
      queue.onBroken((reason) => {
        engine.fail(reason)
        for (const other of queues) other.fail(reason)
      })
    }
    const pair = new NetQueuePair(engine)
    engine.receive.fill()
    if (shape.notified && shape.interval > 0) {
      pair.#timer = setInterval(() => engine.attention.look(), shape.interval)
      pair.#timer.unref()
    }
    return pair
  }

  /**
   * Hands packets that have arrived to `sink`, one after the other; their memory goes back to the device when it has returned.
   * @param sink must not call `receive()`; what it throws comes out of `receive()`
   * @param budget packets at most
   * @returns packets taken, dropped ones included; 0 when there was nothing
   */
  receive(sink: (packet: ReceivedPacket) => void, budget: number): number {
    return this.#receive.receive(sink, budget)
  }

  /** The one function called when packets have arrived: it calls `receive()` until that returns 0, then `armReceive()`. Not polled. */
  onReceive(listener: () => void): void {
    this.#engine.attention.onReceive(listener)
  }

  /** Asks for the next call of the `onReceive` listener. @returns true when packets are there already: receive again instead */
  armReceive(): boolean {
    return this.#engine.attention.arm()
  }

  /**
   * Takes a slot for a frame.
   * @param length bytes at most
   * @returns the slot, to be given to `commit()` or `cancel()`; -1 when there is none, or the pair is not in use: wait for
   * `onTransmitSpace`, or `poll()`
   * @throws RangeError when no slot is that long: see `maxFrameLength`
   */
  reserve(length: number): number {
    return this.#transmit.reserve(length)
  }

  /** Longest frame that `reserve()` takes: 64 KiB and headers where the device segments, the MTU and some more where not. */
  get maxFrameLength(): number {
    return this.#transmit.largestCapacity
  }

  /** Where the slot's frame begins in `bytes`. At least 12 bytes in front of it are the driver's header, free until `commit()`. */
  frameOffset(slot: number): number {
    return this.#transmit.frameOffset(slot)
  }

  /** Bytes the slot takes. */
  capacity(slot: number): number {
    return this.#transmit.capacity(slot)
  }

  /**
   * Gives a filled slot to the device, at the next `publish()`. The slot is no longer the caller's, whatever the answer.
   * @param length bytes of the frame
   * @param header what is left to the device; a header's first ten bytes, from `headerAt`, also in `bytes` in front of the frame
   * @returns false when the frame was dropped, and counted: the header asks for what was not negotiated or does not fit the
   * frame, the frame is too short or longer than the MTU; or when the device has failed, or the pair is not in use
   * @throws RangeError for a slot that is not reserved, or too short
   */
  commit(slot: number, length: number, header?: NetHeaderFields | Uint8Array, headerAt = 0): boolean {
    return this.#transmit.commit(slot, length, header, headerAt)
  }

  cancel(slot: number): void {
    this.#transmit.cancel(slot)
  }

  /** Makes committed frames available to the device: once per batch. */
  publish(): void {
    this.#transmit.publish()
  }

  /** Takes back frames the device has sent. `reserve()` does so by itself when slots run out. @returns how many */
  reclaim(): number {
    return this.#transmit.reclaim()
  }

  /** The one function called when there is room again after `reserve()` returned -1. */
  onTransmitSpace(listener: () => void): void {
    this.#engine.attention.onTransmitSpace(listener)
  }

  /** Copies a frame and sends it. @returns false when there is no room, or the frame was dropped: see `commit()` */
  send(frame: Uint8Array, header?: NetHeaderFields | Uint8Array): boolean {
    const slot = this.reserve(frame.length)
    if (slot < 0) return false
    this.bytes.set(frame, this.frameOffset(slot))
    const committed = this.commit(slot, frame.length, header)
    this.publish()
    return committed
  }

  /** Waits until the device has used every published frame. @returns how many it has not, after `timeout` milliseconds or a fault */
  drain(timeout: number = DRAIN_TIMEOUT): Promise<number> {
    return this.#engine.drain(timeout)
  }

  /** Polled mode: takes back transmitted frames, and now and then looks for lost notifications. @returns frames taken back */
  poll(): number {
    return this.#engine.attention.poll()
  }

  /** A used buffer notification of the receive queue came, in a thread that adopted the pair. */
  receiveNotified(): void {
    this.#engine.attention.received()
  }

  /** The same for the transmit queue. */
  transmitNotified(): void {
    this.#engine.attention.transmitted()
  }

  /**
   * Whether the pair takes frames to transmit. `NetDriver.setQueuePairs()` sees to its own pairs; a thread that adopted one must have
   * it disabled before the driver takes the pair out of use, and enable it only after it is back.
   * @see VIRTIO 1.3 § 5.1.6.5.6.1 "Driver Requirements: Automatic receive steering in multiqueue mode"
   */
  setEnabled(enabled: boolean): void {
    this.#transmit.setEnabled(enabled)
  }

  /** Counters of this pair, by the names of `NetDriver.stats()`. */
  stats(): Readonly<Record<string, number>> {
    return this.#engine.stats()
  }

  /** The same and those of its queues, for `NetDriver.reportPair()` in the owner's thread. */
  report(): PairReport {
    const { receiveQueue, transmitQueue } = this.#engine
    return { stats: this.stats(), receive: receiveQueue.stats, transmit: transmitQueue.stats }
  }

  /** Why the pair stopped working; undefined while it works, and after `stop()`. */
  get fault(): VirtioError | undefined {
    return this.#engine.fault
  }

  /** Called once when the pair stops working: a queue of it broke, or the device failed; soon where it has already. */
  onFault(listener: (reason: VirtioError) => void): void {
    const { fault } = this.#engine
    if (fault) queueMicrotask(() => listener(fault))
    else this.#engine.faults.add(listener)
  }

  /**
   * Gives the pair to another thread: data for `NetQueuePair.adopt()` there. This object is of no use afterwards; the driver stays the
   * owner of the memory and of the device. Needs `NetOptions.transferPairs`, as the receive queue must be untouched.
   * @throws VirtioError `queue.bound-to-thread` where transport or memory cannot be shared; `ring.in-use` when the pair has been used, or
   * transferred before; what the device failed with
   */
  transfer(): NetPairTransfer {
    if (!this.#handOver) throw new Error(`pair ${this.index} was adopted: only its owner can transfer it`)
    return this.#handOver()
  }

  /**
   * Ends the use of an adopted pair: from here on nothing of it touches memory that the device shares. Frames not drained stay with the
   * device. To be called before the owner closes the driver, and when the owner's driver has failed. Idempotent.
   * @param reason what the owner's driver failed with; told to `onFault`
   */
  stop(reason?: FaultReport): void {
    clearInterval(this.#timer)
    const { shape, receiveQueue, transmitQueue } = this.#engine
    const { device, generation } = shape
    if (reason) this.#engine.fail(new VirtioError(reason.code, reason.message, { device, generation }))
    else this.#engine.stop()
    const end = reason ?? { code: 'device.closed', message: `pair ${this.index} of ${device} was stopped` }
    for (const queue of [receiveQueue, transmitQueue])
      queue.fail(new VirtioError(end.code, end.message, { device, generation, queue: queue.index }))
  }
}

function part(
  mapped: { readonly bytes: Uint8Array; readonly deviceAddress: number },
  address: number,
  length: number,
): PacketMemory {
  const offset = address - mapped.deviceAddress
  if (!(Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && offset + length <= mapped.bytes.length)) {
    throw new RangeError(
      `packets of ${length} bytes at device address ${address}: outside the ${mapped.bytes.length} bytes mapped at ${mapped.deviceAddress}`,
    )
  }
  return { bytes: mapped.bytes.subarray(offset, offset + length), deviceAddress: deviceAddress(address), length }
}
