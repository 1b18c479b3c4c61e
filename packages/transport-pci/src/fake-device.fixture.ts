import { CommonConfig, LegacyConfig } from '@virtio-ts/spec'

export interface FakeQueue {
  size: number
  vector: number
  enable: number
  notifyOffset: number
  notifyData: number
  reset: number
  readonly addresses: [number, number, number, number, number, number]
  /** Legacy Queue Address. */
  page: number
}

/** Behaviour that differs from an honest device's. */
export interface FakeQuirks {
  /** Status reads after writing 0 that still show the old status; Infinity: the reset never ends. */
  resetReads?: number
  queueResetReads?: number
  takesVector?: (queue: number, vector: number) => boolean
  /** What num_queues says. */
  queueCount?: number
  takesSize?: (size: number) => number
  /** Runs before each read of device configuration or its generation. */
  beforeConfigRead?: (device: FakeDevice) => void
  /** A queue above this cannot be selected. */
  lastSelectable?: number
}

const NO_VECTOR = 0xffff

/** A device behind registers: state, and what reads and writes of the two register blocks do to it. */
export class FakeDevice {
  readonly quirks: FakeQuirks
  status = 0
  isr = 0
  generation = 0
  features = 0x1_0000_0021n
  accepted = new Map<number, number>()
  config = new Uint8Array(24)
  configVector = NO_VECTOR
  selected = 0
  deviceWindow = 0
  driverWindow = 0
  resets = 0
  readonly queues: FakeQueue[]
  readonly notifications: { offset: number; value: number }[] = []
  #resetReadsLeft = 0

  constructor(quirks: FakeQuirks = {}, queueSizes: readonly number[] = [256, 256, 64]) {
    this.quirks = quirks
    this.queues = queueSizes.map((size, index) => ({
      size,
      vector: NO_VECTOR,
      enable: 0,
      notifyOffset: index,
      notifyData: index,
      reset: 0,
      addresses: [0, 0, 0, 0, 0, 0],
      page: 0,
    }))
    this.config.forEach((_, i) => {
      this.config[i] = 0x10 + i
    })
  }

  get queue(): FakeQueue | undefined {
    return this.queues[this.selected]
  }

  readCommon(register: number, width: number): number {
    const queue = this.queue
    const value = (expected: number, content: number): number => {
      if (width !== expected) throw new Error(`read${8 * width} of common register ${register}`)
      return content
    }
    switch (register) {
      case CommonConfig.DEVICE_FEATURE:
        return value(4, Number((this.features >> BigInt(32 * this.deviceWindow)) & 0xffffffffn))
      case CommonConfig.CONFIG_MSIX_VECTOR:
        return value(2, this.configVector)
      case CommonConfig.NUM_QUEUES:
        return value(2, this.quirks.queueCount ?? this.queues.length)
      case CommonConfig.DEVICE_STATUS:
        return value(1, this.readStatus())
      case CommonConfig.CONFIG_GENERATION:
        this.quirks.beforeConfigRead?.(this)
        return value(1, this.generation & 0xff)
      case CommonConfig.QUEUE_SELECT:
        return value(2, this.selected)
      case CommonConfig.QUEUE_SIZE:
        return value(2, queue?.size ?? 0)
      case CommonConfig.QUEUE_MSIX_VECTOR:
        return value(2, queue?.vector ?? NO_VECTOR)
      case CommonConfig.QUEUE_ENABLE:
        return value(2, queue?.enable ?? 0)
      case CommonConfig.QUEUE_NOTIFY_OFF:
        return value(2, queue?.notifyOffset ?? 0)
      case CommonConfig.QUEUE_NOTIF_CONFIG_DATA:
        return value(2, queue?.notifyData ?? 0)
      case CommonConfig.QUEUE_RESET:
        return value(2, queue ? this.#readQueueReset(queue) : 0)
      default:
        throw new Error(`read${8 * width} of common register ${register}`)
    }
  }

  writeCommon(register: number, width: number, value: number): void {
    const expect = (expected: number): void => {
      if (width !== expected) throw new Error(`write${8 * width} of common register ${register}`)
    }
    if (register >= CommonConfig.QUEUE_DESC && register < CommonConfig.QUEUE_NOTIF_CONFIG_DATA) {
      expect(4)
      if (this.queue) this.queue.addresses[(register - CommonConfig.QUEUE_DESC) / 4] = value
      return
    }
    switch (register) {
      case CommonConfig.DEVICE_FEATURE_SELECT:
        expect(4)
        this.deviceWindow = value
        return
      case CommonConfig.DRIVER_FEATURE_SELECT:
        expect(4)
        this.driverWindow = value
        return
      case CommonConfig.DRIVER_FEATURE:
        expect(4)
        this.accepted.set(this.driverWindow, value)
        return
      case CommonConfig.CONFIG_MSIX_VECTOR:
        expect(2)
        this.bindConfigVector(value)
        return
      case CommonConfig.DEVICE_STATUS:
        expect(1)
        this.writeStatus(value)
        return
      case CommonConfig.QUEUE_SELECT:
        expect(2)
        this.selected = value
        return
      case CommonConfig.QUEUE_SIZE:
        expect(2)
        if (this.queue) this.queue.size = this.quirks.takesSize?.(value) ?? value
        return
      case CommonConfig.QUEUE_MSIX_VECTOR:
        expect(2)
        this.bindQueueVector(value)
        return
      case CommonConfig.QUEUE_ENABLE:
        expect(2)
        if (value !== 1) throw new Error('queue_enable written with something else than 1')
        if (this.queue) this.queue.enable = 1
        return
      case CommonConfig.QUEUE_RESET:
        expect(2)
        if (this.queue) this.queue.reset = 1 + (this.quirks.queueResetReads ?? 0)
        return
      default:
        throw new Error(`write${8 * width} of common register ${register}`)
    }
  }

  /** @param msix whether MSI-X is enabled, which decides what is at 20 */
  readLegacy(register: number, width: number, msix: boolean): number {
    const configAt = msix ? LegacyConfig.DEVICE_CONFIG_MSIX : LegacyConfig.DEVICE_CONFIG
    if (register >= configAt) return this.readConfig(register - configAt, width)
    switch (`${register}/${width}`) {
      case `${LegacyConfig.DEVICE_FEATURES}/4`:
        return Number(this.features & 0xffffffffn)
      case `${LegacyConfig.QUEUE_ADDRESS}/4`:
        return this.queue?.page ?? 0
      case `${LegacyConfig.QUEUE_SIZE}/2`:
        return this.queue?.size ?? 0
      case `${LegacyConfig.QUEUE_SELECT}/2`:
        return this.selected
      case `${LegacyConfig.DEVICE_STATUS}/1`:
        return this.readStatus()
      case `${LegacyConfig.ISR_STATUS}/1`:
        return this.takeIsr()
      case `${LegacyConfig.CONFIG_MSIX_VECTOR}/2`:
        return this.configVector
      case `${LegacyConfig.QUEUE_MSIX_VECTOR}/2`:
        return this.queue?.vector ?? NO_VECTOR
      default:
        throw new Error(`read${8 * width} of legacy register ${register}`)
    }
  }

  writeLegacy(register: number, width: number, value: number, msix: boolean): void {
    const configAt = msix ? LegacyConfig.DEVICE_CONFIG_MSIX : LegacyConfig.DEVICE_CONFIG
    if (register >= configAt) {
      this.writeConfig(register - configAt, width, value)
      return
    }
    switch (`${register}/${width}`) {
      case `${LegacyConfig.DRIVER_FEATURES}/4`:
        this.accepted.set(0, value)
        return
      case `${LegacyConfig.QUEUE_ADDRESS}/4`:
        if (value === 0) this.reset()
        else if (this.queue) this.queue.page = value
        return
      case `${LegacyConfig.QUEUE_SELECT}/2`:
        if (value <= (this.quirks.lastSelectable ?? 0xffff)) this.selected = value
        return
      case `${LegacyConfig.QUEUE_NOTIFY}/2`:
        this.notifications.push({ offset: register, value })
        return
      case `${LegacyConfig.DEVICE_STATUS}/1`:
        this.writeStatus(value)
        return
      case `${LegacyConfig.CONFIG_MSIX_VECTOR}/2`:
        this.bindConfigVector(value)
        return
      case `${LegacyConfig.QUEUE_MSIX_VECTOR}/2`:
        this.bindQueueVector(value)
        return
      default:
        throw new Error(`write${8 * width} of legacy register ${register}`)
    }
  }

  /** As QEMU: an access that crosses the end reads as all-ones throughout. */
  readConfig(offset: number, width: number): number {
    this.quirks.beforeConfigRead?.(this)
    if (offset + width > this.config.length) return 2 ** (8 * width) - 1
    let value = 0
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (this.config[offset + i] ?? 0)
    return value
  }

  writeConfig(offset: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) this.config[offset + i] = Math.floor(value / 256 ** i) & 0xff
  }

  takeIsr(): number {
    const isr = this.isr
    this.isr = 0
    return isr
  }

  readStatus(): number {
    if (this.#resetReadsLeft > 0 && --this.#resetReadsLeft === 0) this.reset()
    return this.status
  }

  writeStatus(status: number): void {
    if (status !== 0) this.status = status
    else if (this.status !== 0 && this.quirks.resetReads) this.#resetReadsLeft = this.quirks.resetReads
    else this.reset()
  }

  reset(): void {
    this.resets++
    this.status = 0
    this.isr = 0
    this.configVector = NO_VECTOR
    this.accepted.clear()
    for (const queue of this.queues) {
      queue.enable = 0
      queue.vector = NO_VECTOR
      queue.page = 0
    }
  }

  bindConfigVector(vector: number): void {
    this.configVector = this.quirks.takesVector?.(-1, vector) === false ? NO_VECTOR : vector
  }

  bindQueueVector(vector: number): void {
    if (!this.queue) return
    this.queue.vector = this.quirks.takesVector?.(this.selected, vector) === false ? NO_VECTOR : vector
  }

  #readQueueReset(queue: FakeQueue): number {
    if (queue.reset > 0 && --queue.reset === 0) {
      queue.enable = 0
      queue.vector = NO_VECTOR
    }
    return queue.reset > 0 ? 1 : 0
  }
}
