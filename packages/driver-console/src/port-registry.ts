import type { VirtioDevice } from '@virtio-ts/core'
import { ConsoleControl, type ConsoleFeatureName } from '@virtio-ts/spec'
import { callGuarded } from './call-guarded.ts'
import type { ConsoleEventListeners } from './console-events.ts'
import type { ConsoleLimits } from './console-options.ts'
import type { ConsolePort, PortControl } from './console-port.ts'
import type { ConsoleSize } from './console-size.ts'
import type { ConsoleQueueName } from './console-spec.ts'
import { ControlChannel, type ControlListener } from './control-channel.ts'
import type { ControlMessage } from './control-message.ts'
import { PortChannel } from './port-channel.ts'

const { DEVICE_READY, DEVICE_ADD, DEVICE_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME } =
  ConsoleControl

/** Turns of the event loop that `start` takes without a pause; in-process devices need no more. */
const QUICK_TURNS = 16

/**
 * Which ports there are, and what the device says about them.
 * @see VIRTIO 1.3 § 5.3.6.2 "Multiport Device Operation"
 */
export class PortRegistry implements ControlListener {
  readonly #device: VirtioDevice<ConsoleFeatureName, ConsoleQueueName>
  readonly #limits: ConsoleLimits
  readonly #events: ConsoleEventListeners
  readonly #control: ControlChannel | undefined
  /** By number, also of ports that are gone: their buffers are the next one's. */
  readonly #channels = new Map<number, PortChannel>()
  /** Ports whose owner was told that they are there. */
  readonly #told = new Set<number>()
  readonly #sizes = new Map<number, ConsoleSize>()
  #refused = 0

  constructor(
    device: VirtioDevice<ConsoleFeatureName, ConsoleQueueName>,
    limits: ConsoleLimits,
    events: ConsoleEventListeners,
  ) {
    this.#device = device
    this.#limits = limits
    this.#events = events
    this.#control = device.hasQueue('control receiveq') ? new ControlChannel(device, this) : undefined
  }

  get ports(): readonly ConsolePort[] {
    return [...this.#channels.values()]
      .flatMap(({ control }) => (control ? [control.port] : []))
      .sort((one, other) => one.id - other.id)
  }

  /** Tells the device that the driver is ready, and waits until it has said what it has to say, so many milliseconds at most. */
  async start(timeout: number): Promise<void> {
    const control = this.#control
    if (!control) {
      this.#channel(0).attach({ name: undefined, isConsole: true, hostConnected: true, size: this.#sizes.get(0) })
      this.#told.add(0)
      return
    }
    control.send(0, DEVICE_READY, 1)
    const end = performance.now() + timeout
    for (let turn = 0; !this.#device.fault; turn++) {
      control.service()
      if (control.settled || performance.now() >= end) return
      await new Promise<void>((resolve) => void (turn < QUICK_TURNS ? setImmediate(resolve) : setTimeout(resolve, 1)))
    }
  }

  service(): void {
    this.#control?.service()
    for (const channel of this.#channels.values()) channel.service()
  }

  /** Ends every port. @param reason why, unless the owner wanted it so */
  stop(reason: Error | undefined): void {
    for (const channel of this.#channels.values()) channel.fail(reason)
  }

  stats(): Readonly<Record<string, number>> {
    const bytes = [...this.#channels.values()].map((channel) => channel.bytes)
    return {
      ports: this.ports.length,
      received_bytes: bytes.reduce((sum, { received }) => sum + received, 0),
      transmitted_bytes: bytes.reduce((sum, { transmitted }) => sum + transmitted, 0),
      control_invalid: this.#control?.invalid ?? 0,
      ports_refused: this.#refused,
    }
  }

  /** The size of a port as the configuration or a message has it; nobody has a console without columns. */
  resize(id: number, size: ConsoleSize): void {
    if (size.columns === 0 || size.rows === 0) return
    const known = this.#sizes.get(id)
    if (known?.columns === size.columns && known.rows === size.rows) return
    this.#sizes.set(id, size)
    const control = this.#channels.get(id)?.control
    if (!control) return
    control.state.size = size
    emit(control, 'resize', size)
    if (this.#told.has(id)) this.#events.resize.call(control.port, size)
  }

  received(message: ControlMessage): void {
    const { id, event } = message
    if (event === DEVICE_ADD) return this.#add(id)
    const channel = this.#channels.get(id)
    if (!channel?.control) return this.#control?.countInvalid()
    if (event === DEVICE_REMOVE) this.#remove(id, channel)
    else this.#learn(channel, channel.control, message)
  }

  taken(id: number, event: number): void {
    const port = this.#channels.get(id)?.control?.port
    if (event !== PORT_READY || !port || this.#told.has(id)) return
    this.#told.add(id)
    this.#events['port-added'].call(port)
  }

  #add(id: number): void {
    if (this.#channels.get(id)?.control) return this.#control?.countInvalid()
    try {
      const size = this.#sizes.get(id)
      this.#channel(id).attach({ name: undefined, isConsole: false, hostConnected: false, size })
      this.#control?.send(id, PORT_READY, 1)
    } catch {
      // No queues for it, beyond max_nr_ports, or no memory left: the device is told that the port cannot be used.
      this.#refused++
      this.#control?.send(id, PORT_READY, 0)
    }
  }

  #remove(id: number, channel: PortChannel): void {
    const port = channel.control?.port
    channel.detach()
    // That of port 0 is in the configuration still.
    if (id !== 0) this.#sizes.delete(id)
    if (this.#told.delete(id) && port) this.#events['port-removed'].call(port)
  }

  #learn(channel: PortChannel, control: PortControl, { id, event, value, name, size }: ControlMessage): void {
    const { state } = control
    if (event === CONSOLE_PORT) {
      state.isConsole = true
      emit(control, 'console')
      // VIRTIO 1.3 § 5.3.6.2.2 "Driver Requirements: Multiport Device Operation": answered with PORT_OPEN, in use or not.
      if (channel.isOpen) this.#control?.send(id, PORT_OPEN, 1)
      else channel.open()
    } else if (event === PORT_NAME) {
      state.name = name
      emit(control, 'name', name)
    } else if (event === RESIZE && size) this.resize(id, size)
    else if (event === PORT_OPEN) {
      const connected = value !== 0
      if (state.hostConnected === connected) return
      state.hostConnected = connected
      emit(control, connected ? 'host-connected' : 'host-disconnected')
    } else this.#control?.countInvalid()
  }

  #channel(id: number): PortChannel {
    const known = this.#channels.get(id)
    if (known) return known
    const { bufferSize, buffers } = this.#limits
    const sayOpen = (open: boolean): void => this.#control?.send(id, PORT_OPEN, open ? 1 : 0)
    const channel = new PortChannel({ device: this.#device, id, bufferSize, buffers, sayOpen })
    this.#channels.set(id, channel)
    return channel
  }
}

function emit(control: PortControl, event: string, ...args: readonly unknown[]): void {
  callGuarded(() => void control.port.emit(event, ...args))
}
