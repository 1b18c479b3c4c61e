import {
  ConsoleConfig,
  ConsoleControl,
  ConsoleFeature,
  consolePortQueues,
  ConsoleQueue,
  DeviceType,
  type FeatureBit,
  type FeatureDependency,
  featureSet,
  hasFeature,
} from '@virtio-ts/spec'
import type { ConfigField, DeviceHost, DeviceModel } from '../device-model.ts'
import { Rules } from '../rules.ts'
import type { ConsoleModelOptions, ConsolePortOptions, ConsoleSize } from './console-options.ts'
import { ModelPort, type PortDevice } from './model-port.ts'

const { DEVICE_READY, DEVICE_ADD, DEVICE_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME } =
  ConsoleControl
const { SIZE, MULTIPORT, EMERG_WRITE } = ConsoleFeature

/**
 * The console device: ports that come and go, each with a peer that this process plays.
 * @see VIRTIO 1.3 § 5.3 "Console Device"
 */
export class ConsoleModel implements DeviceModel, PortDevice {
  readonly name: string = 'console'
  readonly deviceType: number = DeviceType.CONSOLE
  readonly features: bigint
  readonly featureBits: Readonly<Record<string, FeatureBit>> = ConsoleFeature
  readonly featureDependencies: readonly FeatureDependency[] = []
  readonly queueSizes: readonly number[]
  readonly config: Uint8Array = new Uint8Array(ConsoleConfig.LENGTH)
  readonly configFields: readonly ConfigField[] = [
    { name: 'cols', offset: ConsoleConfig.COLS, width: 2, features: [SIZE] },
    { name: 'rows', offset: ConsoleConfig.ROWS, width: 2, features: [SIZE] },
    { name: 'max_nr_ports', offset: ConsoleConfig.MAX_NR_PORTS, width: 4, features: [MULTIPORT] },
    { name: 'emerg_wr', offset: ConsoleConfig.EMERG_WR, width: 4, features: [EMERG_WRITE], early: true },
  ]
  readonly classCode: number = 0x078000
  readonly #maxPorts: number
  readonly #ports = new Map<number, ModelPort>()
  readonly #emergency: number[] = []
  readonly #sizes = new Map<number, ConsoleSize>()
  /** Messages that wait for the driver to have buffers. */
  #messages: Uint8Array[] = []
  #host: DeviceHost | undefined
  #driverReady = false

  constructor(options: ConsoleModelOptions = {}) {
    const { multiport = true, ports = [{ id: 0, console: true }], size = { columns: 80, rows: 25 } } = options
    for (const port of ports) this.#plug(port)
    this.#maxPorts = options.maxPorts ?? Math.max(4, ...Array.from(this.#ports.keys(), (id) => id + 1))
    this.features = featureSet(
      ...(size ? [SIZE] : []),
      ...(multiport ? [MULTIPORT] : []),
      ...((options.emergencyWrite ?? true) ? [EMERG_WRITE] : []),
    )
    // Port 0 and the control queues, then two queues for each further port.
    const queues = multiport ? 2 * Math.max(this.#maxPorts, 1) + 2 : 2
    this.queueSizes = new Array<number>(queues).fill(options.queueSize ?? 64)
    const view = this.#view
    if (size) {
      view.setUint16(ConsoleConfig.COLS, size.columns, true)
      view.setUint16(ConsoleConfig.ROWS, size.rows, true)
      this.#sizes.set(0, size)
    }
    if (multiport) view.setUint32(ConsoleConfig.MAX_NR_PORTS, options.claimedPorts ?? this.#maxPorts, true)
  }

  get host(): DeviceHost | undefined {
    return this.#host
  }

  /** Whether MULTIPORT was negotiated. */
  get multiport(): boolean {
    return hasFeature(this.#host?.features ?? 0n, MULTIPORT)
  }

  /** Whether the driver has said DEVICE_READY. */
  get driverReady(): boolean {
    return this.#driverReady
  }

  /** Bytes that came by emergency write. */
  get emergency(): readonly number[] {
    return this.#emergency
  }

  /** Control messages that wait for the driver to have buffers. */
  get waitingMessages(): number {
    return this.#messages.length
  }

  /** @throws RangeError when there is no such port */
  port(id: number): ModelPort {
    const port = this.#ports.get(id)
    if (!port) throw new RangeError(`the device has no port ${id}`)
    return port
  }

  /** Plugs a port in. @throws RangeError for one that there is, or beyond max_nr_ports */
  addPort(options: ConsolePortOptions = {}): ModelPort {
    const port = this.#plug(options)
    if (port.id >= this.#maxPorts) {
      this.#ports.delete(port.id)
      throw new RangeError(`port ${port.id} is beyond the ${this.#maxPorts} that the device can have`)
    }
    if (this.#driverReady) this.#say(port.id, DEVICE_ADD)
    return port
  }

  /** Takes a port out. What the driver has written to it and nobody took is lost. */
  removePort(id: number): void {
    this.port(id)
    this.#ports.delete(id)
    if (this.#driverReady) this.#say(id, DEVICE_REMOVE)
  }

  /** The size of a console changed: told by message, and for port 0 in the configuration too, if the device has SIZE. */
  resize(id: number, size: ConsoleSize): void {
    this.#sizes.set(id, size)
    if (id === 0 && hasFeature(this.features, SIZE)) {
      this.#view.setUint16(ConsoleConfig.COLS, size.columns, true)
      this.#view.setUint16(ConsoleConfig.ROWS, size.rows, true)
      this.#host?.configChanged(true)
    }
    if (this.#ports.get(id)?.ready) this.#sayResize(id, size)
  }

  /** Sends any bytes as a control message: what no device may say. */
  say(bytes: Uint8Array): void {
    this.#messages.push(bytes)
    this.#flush()
  }

  sayConnected(port: ModelPort): void {
    if (port.ready) this.#say(port.id, PORT_OPEN, port.connected ? 1 : 0)
  }

  attach(host: DeviceHost): void {
    this.#host = host
  }

  onReset(): void {
    this.#driverReady = false
    this.#messages = []
    for (const port of this.#ports.values()) port.reset()
  }

  onDriverOk(): void {
    if (this.multiport) return
    for (let queue = 2; queue < this.queueSizes.length; queue++) {
      if (this.#host?.ring(queue))
        this.#host.violation(Rules.CONSOLE_QUEUES, `queue ${queue} was set up, which there is not without MULTIPORT`)
    }
  }

  onConfigWrite(offset: number, bytes: Uint8Array): boolean {
    // VIRTIO 1.3 § 5.3.5.1 "Device Requirements: Device Initialization": taken at any time, the lower byte of it.
    if (offset === ConsoleConfig.EMERG_WR && hasFeature(this.features, EMERG_WRITE)) this.#emergency.push(bytes[0] ?? 0)
    else
      this.#host?.violation(Rules.CONFIG_SPACE, `configuration written at ${offset}, where there is nothing to write`)
    return false
  }

  onNotify(queue: number): void {
    if (this.multiport && queue === ConsoleQueue.CONTROL_RECEIVE) return this.#flush()
    if (this.multiport && queue === ConsoleQueue.CONTROL_TRANSMIT) return this.#control()
    for (const port of this.#ports.values()) {
      const { receive, transmit } = consolePortQueues(port.id)
      if (queue === receive) port.deliver()
      if (queue === transmit) port.transmitted()
    }
  }

  get #view(): DataView {
    return new DataView(this.config.buffer)
  }

  #plug(options: ConsolePortOptions): ModelPort {
    let id = options.id ?? 0
    while (options.id === undefined && this.#ports.has(id)) id++
    if (this.#ports.has(id)) throw new RangeError(`there is a port ${id} already`)
    const port = new ModelPort(this, id, consolePortQueues(id), options)
    this.#ports.set(id, port)
    return port
  }

  #control(): void {
    const ring = this.#host?.ring(ConsoleQueue.CONTROL_TRANSMIT)
    if (!ring) return
    do {
      for (let chain = ring.take(); chain; chain = ring.take()) {
        if (chain.writable.length > 0)
          this.#host?.violation(Rules.CONSOLE, 'a device-writable buffer in the control transmitq')
        const message = chain.read()
        ring.use(chain, 0)
        this.#take(message)
      }
    } while (ring.requestNotifications())
  }

  #take(message: Uint8Array): void {
    if (message.length !== ConsoleControl.LENGTH)
      return this.#host?.violation(Rules.CONSOLE_MULTIPORT, `a control message of ${message.length} bytes`)
    const view = new DataView(message.buffer, message.byteOffset)
    const id = view.getUint32(ConsoleControl.ID, true)
    const event = view.getUint16(ConsoleControl.EVENT, true)
    const value = view.getUint16(ConsoleControl.VALUE, true)
    if (event === DEVICE_READY) return this.#deviceReady(value)
    if (!this.#driverReady)
      this.#host?.violation(Rules.CONSOLE_MULTIPORT, `control message ${event} before DEVICE_READY`)
    const port = this.#ports.get(id)
    if (event === PORT_READY) port && this.#portReady(port, value)
    else if (event === PORT_OPEN) port && this.#portOpen(port, value)
    else this.#host?.violation(Rules.CONSOLE_MULTIPORT, `control message ${event}, which no driver sends`)
  }

  #deviceReady(value: number): void {
    if (value !== 1) return
    this.#driverReady = true
    for (const id of this.#ports.keys()) this.#say(id, DEVICE_ADD)
  }

  #portReady(port: ModelPort, value: number): void {
    port.ready = value === 1
    if (!port.ready) return
    if (port.console) {
      port.owesOpen = true
      this.#say(port.id, CONSOLE_PORT)
    }
    if (port.name !== undefined) this.say(message(port.id, PORT_NAME, 0, new TextEncoder().encode(port.name)))
    const size = this.#sizes.get(port.id)
    if (size && port.console) this.#sayResize(port.id, size)
    if (port.connected) this.#say(port.id, PORT_OPEN, 1)
  }

  #portOpen(port: ModelPort, value: number): void {
    if (!port.ready) this.#host?.violation(Rules.CONSOLE_MULTIPORT, `PORT_OPEN for port ${port.id}, which is not ready`)
    port.driverOpen = value === 1
    port.owesOpen = false
    port.deliver()
  }

  #sayResize(id: number, { columns, rows }: ConsoleSize): void {
    const bytes = new DataView(new ArrayBuffer(4))
    bytes.setUint16(0, columns, true)
    bytes.setUint16(2, rows, true)
    this.say(message(id, RESIZE, 0, new Uint8Array(bytes.buffer)))
  }

  #say(id: number, event: number, value: number = 0): void {
    this.say(message(id, event, value))
  }

  #flush(): void {
    const ring = this.#messages.length > 0 && this.multiport && this.#host?.ring(ConsoleQueue.CONTROL_RECEIVE)
    if (!ring) return
    do {
      while (this.#messages.length > 0) {
        const chain = ring.take()
        if (!chain) break
        if (chain.readable.length > 0)
          this.#host?.violation(Rules.CONSOLE, 'a device-readable buffer in the control receiveq')
        const moment = { bytes: this.#messages.shift()!, copies: 1 }
        this.#host?.show('console-control', moment)
        ring.push(chain, chain.write(moment.bytes))
        for (let copy = 1; copy < moment.copies; copy++) {
          const another = ring.take()
          if (another) ring.push(another, another.write(moment.bytes))
        }
      }
    } while (ring.requestNotifications() && this.#messages.length > 0)
    ring.flush()
  }
}

function message(id: number, event: number, value: number, rest: Uint8Array = new Uint8Array(0)): Uint8Array {
  const bytes = new Uint8Array(ConsoleControl.LENGTH + rest.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(ConsoleControl.ID, id, true)
  view.setUint16(ConsoleControl.EVENT, event, true)
  view.setUint16(ConsoleControl.VALUE, value, true)
  bytes.set(rest, ConsoleControl.LENGTH)
  return bytes
}
