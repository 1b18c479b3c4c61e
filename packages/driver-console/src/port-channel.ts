import type { VirtioDevice } from '@virtio-ts/core'
import { type DmaRegion, deviceAddress } from '@virtio-ts/memory'
import { type ConsoleFeatureName, VirtioError } from '@virtio-ts/spec'
import { ConsolePort, type PortControl, type PortState } from './console-port.ts'
import type { ConsoleQueueName } from './console-spec.ts'
import { ReceivePath } from './receive-path.ts'
import { TransmitPath } from './transmit-path.ts'

export interface ChannelOptions {
  readonly device: VirtioDevice<ConsoleFeatureName, ConsoleQueueName>
  readonly id: number
  readonly bufferSize: number
  readonly buffers: number
  /** Tells the device that the port was opened or closed; not called where ports have no such state. */
  readonly sayOpen: (open: boolean) => void
}

type PathMemory = Pick<DmaRegion, 'bytes' | 'deviceAddress' | 'length'>

/**
 * The queues and buffers of one port number. Ports under that number come and go; buffers that the device still has when one goes are
 * used again by the next.
 */
export class PortChannel {
  readonly #options: ChannelOptions
  readonly #receive: ReceivePath
  readonly #transmit: TransmitPath
  #control: PortControl | undefined
  #open = false

  /** @throws DmaError `memory.exhausted` */
  constructor(options: ChannelOptions) {
    this.#options = options
    const { device, id, buffers, bufferSize } = options
    const receiveQueue = device.queue(`receiveq(port${id})`)
    const transmitQueue = device.queue(`transmitq(port${id})`)
    const polled = device.interrupts === 'none'
    const count = Math.min(buffers, receiveQueue.size, transmitQueue.size)
    // One piece for both directions: there is memory for the port, or there is none.
    const length = count * bufferSize
    const memory = device.allocate(2 * length)
    const part = (offset: number): PathMemory => ({
      bytes: memory.bytes.subarray(offset, offset + length),
      deviceAddress: deviceAddress(memory.deviceAddress + offset),
      length,
    })
    const sink = (bytes: Buffer): boolean => this.#control?.deliver(bytes) ?? false
    this.#receive = new ReceivePath({ queue: receiveQueue, buffers: count, memory: part(0), polled, sink })
    this.#transmit = new TransmitPath({ queue: transmitQueue, buffers: count, memory: part(length), polled })
    if (polled) return
    device.onUsed(`receiveq(port${id})`, () => this.service())
    device.onUsed(`transmitq(port${id})`, () => this.service())
  }

  get control(): PortControl | undefined {
    return this.#control
  }

  get bytes(): { readonly received: number; readonly transmitted: number } {
    return { received: this.#receive.bytes, transmitted: this.#transmit.bytes }
  }

  /** A port under this number, closed. */
  attach(state: PortState): PortControl {
    const control: PortControl = ConsolePort.make(
      this.#options.id,
      {
        open: () => this.open(),
        read: () => this.#receive.want(),
        write: (bytes, whenWritten) => this.#transmit.write(bytes, whenWritten),
        flush: (whenFlushed) => this.#transmit.flush(whenFlushed),
        closed: () => this.#closed(control),
      },
      state,
    )
    this.#control = control
    return control
  }

  get isOpen(): boolean {
    return this.#open
  }

  /** Opens the port towards the device. */
  open(): void {
    if (this.#open || this.#options.device.fault) return
    this.#open = true
    // What came for whoever had the port before is not for this one.
    this.#receive.discard()
    this.#options.sayOpen(true)
  }

  /** The device took the port away. Its stream ends, with an error if data was on its way to the device. */
  detach(): void {
    const control = this.#control
    if (!control) return
    const { port } = control
    const lost = this.#open && (this.#transmit.busy || port.writableLength > 0)
    this.#receive.drain()
    const reason = this.#error(
      'console.port-removed',
      'took the port away while data was on its way; how much arrived is not known',
    )
    this.#release(reason)
    if (lost) port.destroy(reason)
    if (port.destroyed) return
    control.endOfData()
    port.end()
  }

  /** The device is of no use any more. @param reason why, unless its owner closed it */
  fail(reason: Error | undefined): void {
    const port = this.#control?.port
    // A port nobody used ends without an error.
    const inUse = this.#open
    this.#release(reason ?? this.#closedError())
    port?.destroy(inUse ? reason : undefined)
  }

  /** Looks after both directions. Never throws. */
  service(): void {
    if (this.#options.device.fault || !this.#control) return
    this.#transmit.service()
    this.#receive.service()
  }

  #release(reason: Error): void {
    this.#control = undefined
    this.#open = false
    this.#transmit.abandon(reason)
    this.#receive.stop()
  }

  /** Its user has closed the port, which is still there: the next one takes its place. */
  #closed(control: PortControl): void {
    if (this.#control !== control) return
    const wasOpen = this.#open
    this.#release(this.#closedError())
    if (this.#options.device.fault) return
    this.#receive.discard()
    this.attach(control.state)
    if (wasOpen) this.#options.sayOpen(false)
  }

  #closedError(): VirtioError {
    return this.#error('console.port-closed', 'has not been given all of a write: the port was closed before')
  }

  #error(code: string, what: string): VirtioError {
    const { device, id } = this.#options
    const { location, generation } = device
    return new VirtioError(code, `${location}, port ${id}: ${what}`, {
      device: location,
      generation,
      detail: { port: id },
    })
  }
}
