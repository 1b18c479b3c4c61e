import { type UsedBatch, usedBatch, type VirtioDevice, type Virtqueue } from '@virtio-ts/core'
import { type DeviceAddress, type DmaRegion, deviceAddress } from '@virtio-ts/memory'
import { ConsoleControl, type ConsoleFeatureName } from '@virtio-ts/spec'
import type { ConsoleQueueName } from './console-spec.ts'
import { type ControlMessage, parseControlMessage, writeControlMessage } from './control-message.ts'

/** Room for a name of a thousand bytes. */
const BUFFER = 1024
const BUFFERS = 32
/** Messages taken before others have their turn. */
const BUDGET = 64
/** Messages that wait for the device to take them; more can only be refusals of ports that it makes up. */
const LONGEST_BACKLOG = 70_000

export interface ControlListener {
  received(message: ControlMessage): void
  /** The device has taken a message, and everything it said until then has been received. */
  taken(id: number, event: number): void
}

interface Outgoing {
  readonly id: number
  readonly event: number
  readonly value: number
}

/**
 * The two control queues. Messages to the device go one at a time: QEMU drops what it has to say when the driver has no buffer for it, and
 * it answers a message with up to four of its own.
 * @see VIRTIO 1.3 § 5.3.6.2 "Multiport Device Operation"
 */
export class ControlChannel {
  readonly #device: VirtioDevice<ConsoleFeatureName, ConsoleQueueName>
  readonly #receive: Virtqueue
  readonly #transmit: Virtqueue
  readonly #listener: ControlListener
  readonly #memory: DmaRegion
  readonly #batch: UsedBatch = usedBatch(1)
  /** By port and event: the latest word on each. */
  readonly #backlog = new Map<string, Outgoing>()
  #inFlight: Outgoing | undefined
  #resumeScheduled = false
  #invalid = 0

  constructor(device: VirtioDevice<ConsoleFeatureName, ConsoleQueueName>, listener: ControlListener) {
    this.#device = device
    this.#listener = listener
    this.#receive = device.queue('control receiveq')
    this.#transmit = device.queue('control transmitq')
    const count = Math.min(BUFFERS, this.#receive.size)
    this.#memory = device.allocate((count + 1) * BUFFER)
    for (let buffer = 0; buffer < count; buffer++) this.#post(buffer)
    this.#receive.publish()
    if (device.interrupts === 'none') return
    device.onUsed('control receiveq', () => this.service())
    device.onUsed('control transmitq', () => this.service())
  }

  /** Messages that made no sense. */
  get invalid(): number {
    return this.#invalid
  }

  countInvalid(): void {
    this.#invalid++
  }

  /** Nothing is on its way to the device, and nothing it said waits to be received. */
  get settled(): boolean {
    return this.#inFlight === undefined && this.#backlog.size === 0 && !this.#receive.hasUsed()
  }

  /** Sends a message, behind those that wait; an older one about the same port and event that still waits is replaced. */
  send(id: number, event: number, value: number): void {
    const key = `${id} ${event}`
    this.#backlog.delete(key)
    if (this.#backlog.size < LONGEST_BACKLOG) this.#backlog.set(key, { id, event, value })
    this.#sendNext()
  }

  /** Takes what the device has said and done. Never throws. */
  service(): void {
    if (this.#device.fault) return
    let budget = BUDGET
    do {
      budget = this.#takeMessages(budget)
      const sent = this.#inFlight
      if (sent && this.#transmit.popUsed(this.#batch) > 0) {
        this.#inFlight = undefined
        // What the device said before it took the message is heard first.
        budget = this.#takeMessages(budget)
        this.#listener.taken(sent.id, sent.event)
      }
      this.#sendNext()
      if (budget === 0) return this.#resumeLater()
    } while (this.#isWorkLeft())
  }

  #isWorkLeft(): boolean {
    if (this.#device.fault) return false
    // Both are asked: each answer arms the next notification of its queue.
    const received = this.#receive.enableUsedNotifications()
    const taken = this.#transmit.enableUsedNotifications()
    if (this.#device.interrupts === 'none') {
      this.#receive.disableUsedNotifications()
      this.#transmit.disableUsedNotifications()
    }
    return received || (taken && this.#inFlight !== undefined)
  }

  #takeMessages(budget: number): number {
    let left = budget
    while (left > 0 && !this.#device.fault && this.#receive.popUsed(this.#batch) > 0) {
      left--
      const buffer = this.#batch.cookies[0]!
      // A copy: the device may write to its buffers at any time.
      const bytes = this.#memory.bytes.slice(buffer * BUFFER, buffer * BUFFER + this.#batch.written[0]!)
      this.#post(buffer)
      this.#receive.publish()
      const message = parseControlMessage(bytes)
      if (message) this.#listener.received(message)
      else this.#invalid++
    }
    return left
  }

  #sendNext(): void {
    if (this.#inFlight || this.#device.fault) return
    for (const [key, message] of this.#backlog) {
      this.#backlog.delete(key)
      const at = this.#memory.length - BUFFER
      writeControlMessage(this.#memory.bytes.subarray(at), message.id, message.event, message.value)
      if (!this.#transmit.addReadable(this.#address(at), ConsoleControl.LENGTH, 0)) return
      this.#inFlight = message
      this.#transmit.publish()
      return
    }
  }

  #post(buffer: number): void {
    this.#receive.addWritable(this.#address(buffer * BUFFER), BUFFER, buffer)
  }

  #address(offset: number): DeviceAddress {
    return deviceAddress(this.#memory.deviceAddress + offset)
  }

  #resumeLater(): void {
    if (this.#resumeScheduled) return
    this.#resumeScheduled = true
    setImmediate(() => {
      this.#resumeScheduled = false
      this.service()
    })
  }
}
