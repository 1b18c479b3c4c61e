import { type DmaAllocator, type DmaRegion, deviceAddress } from '@virtio-ts/memory'
import { DeviceStatus, VirtioError } from '@virtio-ts/spec'
import type { QueueAddresses } from '@virtio-ts/virtqueue'
import type { Transport } from '../transport.ts'

/** What the scripted device does wrong, if anything. */
export interface Script {
  offers?: bigint
  legacy?: boolean
  deviceType?: number
  queueSizes?: readonly number[]
  queueSizeWritable?: boolean
  config?: Uint8Array
  refusesFeatures?: boolean
  /** Method that throws, once reached. */
  failsAt?: keyof Transport
  resetNeverConfirmed?: boolean
  /** The device is not there any more when it is reset in operation. */
  goneAtReset?: boolean
}

/** Counts what is handed out, set aside and given back. */
export class CountingDma implements DmaAllocator {
  allocated = 0
  freed = 0
  quarantined = 0
  readonly regions: DmaRegion[] = []
  #next = 0x1000

  allocate(length: number, alignment = 64): DmaRegion {
    this.allocated++
    const start = Math.ceil(this.#next / alignment) * alignment
    this.#next = start + length
    const region = { bytes: new Uint8Array(length), deviceAddress: deviceAddress(start), length }
    this.regions.push(region)
    return region
  }

  free(): void {
    this.freed++
  }

  quarantine(): void {
    this.quarantined++
  }

  get stats(): { allocatedBytes: number; allocatedRegions: number; quarantinedBytes: number } {
    return { allocatedBytes: 0, allocatedRegions: this.allocated - this.freed - this.quarantined, quarantinedBytes: 0 }
  }
}

/** A control plane without a device behind it: writes down every call, answers by its script. */
export class ScriptedTransport implements Transport {
  readonly name = 'scripted'
  readonly location = `scripted-${Math.random()}`
  readonly dma = new CountingDma()
  readonly calls: string[] = []
  readonly script: Script
  readonly usedListeners = new Map<number, () => void>()
  configListener: () => void = () => {}
  goneListener: (reason: Error) => void = () => {}
  accepted = 0n
  statusByte = 0
  closed = 0

  constructor(script: Script = {}) {
    this.script = script
  }

  get deviceType(): number {
    return this.script.deviceType ?? 4
  }

  get legacy(): boolean {
    return this.script.legacy ?? false
  }

  get queueSizeWritable(): boolean {
    return this.script.queueSizeWritable ?? true
  }

  get configLength(): number {
    return this.script.config?.length ?? 0
  }

  async deviceFeatures(): Promise<bigint> {
    this.#reached('deviceFeatures')
    return this.script.offers ?? 1n << 32n
  }

  async acceptFeatures(features: bigint): Promise<void> {
    this.#reached('acceptFeatures', features)
    this.accepted = features
  }

  async status(): Promise<number> {
    this.#reached('status')
    return this.statusByte
  }

  async setStatus(status: number): Promise<void> {
    this.#reached('setStatus', status)
    this.statusByte = this.script.refusesFeatures ? status & ~DeviceStatus.FEATURES_OK : status
  }

  async reset(): Promise<void> {
    this.#reached('reset')
    // Only a device in operation is stubborn: initialisation begins with a reset that works.
    if (this.script.resetNeverConfirmed && this.statusByte !== 0)
      throw new VirtioError('device.reset-timeout', 'the status never read 0')
    if (this.script.goneAtReset && this.statusByte !== 0) throw new VirtioError('device.gone', 'no answer')
    this.statusByte = 0
  }

  async queueSizeMax(index: number): Promise<number> {
    this.#reached('queueSizeMax', index)
    return (this.script.queueSizes ?? [8])[index] ?? 0
  }

  async enableQueue(index: number, size: number, _addresses: QueueAddresses): Promise<void> {
    this.#reached('enableQueue', index, size)
  }

  async resetQueue(index: number): Promise<void> {
    this.#reached('resetQueue', index)
  }

  async readConfig(offset: number, into: Uint8Array): Promise<void> {
    this.#reached('readConfig', offset, into.length)
    into.set((this.script.config ?? new Uint8Array()).subarray(offset, offset + into.length))
  }

  async writeConfig(offset: number, from: Uint8Array): Promise<void> {
    this.#reached('writeConfig', offset, from.length)
  }

  async setUpInterrupts(queues: number, wanted: string): Promise<{ mode: 'msix' | 'none'; vectors: number }> {
    this.#reached('setUpInterrupts', queues, wanted)
    return wanted === 'none' ? { mode: 'none', vectors: 0 } : { mode: 'msix', vectors: queues + 1 }
  }

  onUsed(index: number, listener: () => void): void {
    this.usedListeners.set(index, listener)
  }

  onConfigChange(listener: () => void): void {
    this.configListener = listener
  }

  onGone(listener: (reason: Error) => void): void {
    this.goneListener = listener
  }

  notify(index: number): void {
    this.calls.push(`notify ${index}`)
  }

  async close(): Promise<void> {
    this.closed++
    this.calls.push('close')
  }

  #reached(method: keyof Transport, ...values: readonly (number | bigint | string)[]): void {
    this.calls.push([method, ...values.map(String)].join(' '))
    if (this.script.failsAt === method) throw new Error(`${method} failed as scripted`)
  }
}
