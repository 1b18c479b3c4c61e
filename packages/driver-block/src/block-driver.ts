import { type DeviceDescription, initialize, type RequestBuffer, type Transport } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'
import { BlockRequest, VirtioError } from '@virtio-ts/spec'
import { BlockCommands, type BlockLifetime } from './block-commands.ts'
import { type BlockEventListeners, type BlockEvents, blockEventListeners } from './block-events.ts'
import type { BlockLimits, RangeLimits, ZonedLimits } from './block-limits.ts'
import {
  type BlockOptions,
  checkBlockOptions,
  type DirectBuffers,
  type DirectControl,
  type RequestControl,
} from './block-options.ts'
import { type BlockFeatures, blockSpecFor, DEFAULT_QUEUES } from './block-spec.ts'
import { type BlockCache, BlockState } from './block-state.ts'
import { type ReadableOptions, readableOf, type WritableOptions, writableOf } from './block-streams.ts'
import { BlockWatchdog } from './block-watchdog.ts'
import { lengthOf, loneOf } from './buffer-shape.ts'
import { ByteList, type Bytes } from './byte-list.ts'
import { linked } from './linked-signal.ts'
import { QuickPath } from './quick-path.ts'
import { type BlockDevice, RequestChannel } from './request-channel.ts'
import { stagingFor } from './staging-for.ts'
import type { StagingPool } from './staging-pool.ts'
import { Transfer, unitOf } from './transfer.ts'
import type { Zone } from './zone.ts'
import { ZoneCommands } from './zone-commands.ts'

/** Header and status. */
const FRAME = 2
/** What is asked of a request that nothing is asked of: the same each time. */
const none: DirectControl = {}

export interface BlockDescription extends DeviceDescription {
  readonly block: BlockLimits & { readonly capacity: number; readonly readOnly: boolean; readonly cache: BlockCache }
}

/**
 * Driver for the block device. Offsets and lengths are bytes, multiples of `blockSize`. Requests may be made at any time, as many as one likes;
 * they are carried out in any order.
 *
 * Every method that talks to the device rejects with a VirtioError: `block.io-error` and others of docs/errors.md when it refuses,
 * `block.out-of-range` beyond the capacity, what the device failed with after a fault; with the signal's reason; with a RangeError for what no
 * device could do.
 *
 * @example
 * ```ts
 * await using disk = await BlockDriver.open(transport)
 * await disk.write(0, new Uint8Array(4096).fill(1))
 * await disk.flush()
 * ```
 * @see VIRTIO 1.3 § 5.2 "Block Device"
 */
export class BlockDriver implements AsyncDisposable {
  /** What offsets and lengths are multiples of: the block size the device states, 512 where it states none. */
  readonly blockSize: number
  /** Writes and everything else that changes the disk reject with `block.read-only`. */
  readonly readOnly: boolean
  readonly #device: BlockDevice
  readonly #state: BlockState
  readonly #channel: RequestChannel
  readonly #pool: StagingPool
  readonly #transfer: Transfer
  readonly #quick: QuickPath
  readonly #commands: BlockCommands
  readonly #zones: ZoneCommands | undefined
  readonly #watchdog: BlockWatchdog
  readonly #events: BlockEventListeners = blockEventListeners()
  #closing: Promise<void> | undefined

  private constructor(device: BlockDevice, state: BlockState, options: BlockOptions) {
    const { limits } = state
    this.#device = device
    this.#state = state
    this.blockSize = limits.blockSize
    this.readOnly = device.features.has('RO')
    const queues = device.describe().queues.length
    const strict = (options.trust ?? (device.legacy ? 'tolerant' : 'strict')) === 'strict'
    this.#channel = new RequestChannel({ device, queues, strict, zoned: limits.zoned !== undefined })
    const segMax = Math.min(limits.segMax, this.#channel.maxChain - FRAME)
    if (segMax < 1)
      throw new VirtioError('block.queue-size', `${device.location} has queues too small for header, data and status`, {
        device: device.location,
      })
    const unit = unitOf(limits, segMax)
    this.#pool = stagingFor(device, { limits, segMax, unit, options })
    const check = (offset: number, length: number): void => state.checkEnd(offset, length)
    this.#transfer = new Transfer({ channel: this.#channel, pool: this.#pool, limits, segMax, unit, check })
    this.#quick = new QuickPath({ channel: this.#channel, pool: this.#pool, transfer: this.#transfer, limits, unit })
    this.#commands = new BlockCommands({
      channel: this.#channel,
      pool: this.#pool,
      device: device.location,
      blockSize: this.blockSize,
    })
    const parts = { channel: this.#channel, transfer: this.#transfer, commands: this.#commands }
    this.#zones =
      limits.zoned &&
      new ZoneCommands({ ...parts, zoned: limits.zoned, device: device.location, capacity: () => state.capacity })
    this.#watchdog = new BlockWatchdog(device, this.#channel, options.watchdog)
    device.onConfigChange(() => void state.refresh((capacity) => this.#events.resize.call(capacity)))
    device.onFault((reason) => {
      this.#stop(reason)
      this.#events.fault.call(reason)
    })
  }

  /**
   * Initialises the device, and takes the transport over.
   * @throws RangeError for options that cannot be; VirtioError of `initialize()`, `block.config-invalid`, `block.queue-size`
   */
  static async open(transport: Transport, options: BlockOptions = {}): Promise<BlockDriver> {
    checkBlockOptions(options)
    const spec = blockSpecFor(transport.legacy, options.maxQueues ?? DEFAULT_QUEUES)
    const device = await initialize(transport, spec, options)
    try {
      return new BlockDriver(device, await BlockState.read(device), options)
    } catch (error) {
      // The first error says more than one of a device that does not reset either.
      await device.close().catch(() => {})
      throw error
    }
  }

  /** Bytes. Changes when the device is resized: see the event. */
  get capacity(): number {
    return this.#state.capacity
  }

  get features(): BlockFeatures {
    return this.#device.features
  }

  /** What the device states of itself: limits, topology, zones. */
  get limits(): BlockLimits {
    return this.#state.limits
  }

  /** The zones' measures, where the device is a zoned one. */
  get zoned(): ZonedLimits | undefined {
    return this.#state.limits.zoned
  }

  /** With `writeback` what was written is safe only after a `flush()`. @see VIRTIO 1.3 § 5.2.5.1 "Driver Requirements: Device Initialization" */
  get cache(): BlockCache {
    return this.#state.cache
  }

  /** Whether `writeZeroes` with `unmap` may give storage back. */
  get mayUnmap(): boolean {
    return this.#state.mayUnmap
  }

  /** A `fault` listener that comes after the fault is called soon. @returns a function that takes the listener off again */
  on<Event extends keyof BlockEvents>(event: Event, listener: BlockEvents[Event]): () => void {
    const { fault } = this.#device
    if (event === 'fault' && fault && !this.#closing) queueMicrotask(() => (listener as BlockEvents['fault'])(fault))
    const listeners = this.#events[event] as unknown as { add(listener: BlockEvents[Event]): () => void }
    return listeners.add(listener)
  }

  /**
   * Reads `length` bytes into an array of their own, or fills the caller's, one or several.
   * @param into not to be touched until the promise has settled; nothing is written to it after that
   */
  read(offset: number, length: number, control?: RequestControl): Promise<Uint8Array>
  read<T extends Bytes>(offset: number, into: T, control?: RequestControl): Promise<T>
  read(offset: number, into: number | Bytes, { signal }: RequestControl = none): Promise<Bytes> {
    try {
      const wanted = typeof into === 'number' ? into : lengthOf(into)
      this.#state.begin(offset, wanted, signal)
      const target = typeof into === 'number' ? new Uint8Array(into) : into
      const quick = target instanceof Uint8Array && !signal ? this.#quick.read(offset, target) : undefined
      if (quick || wanted === 0) return quick ?? Promise.resolve(target)
      return linked(signal, (own) => this.#transfer.read(offset, new ByteList(target), own)).then(() => target)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** @param source copied; not to be changed until the promise has settled */
  write(offset: number, source: Bytes, { signal }: RequestControl = none): Promise<void> {
    try {
      const length = lengthOf(source)
      this.#state.begin(offset, length, signal, 'write')
      this.#state.checkGranularity(offset, length)
      const quick = source instanceof Uint8Array && !signal ? this.#quick.write(offset, source) : undefined
      if (quick || length === 0) return (quick ?? Promise.resolve()) as Promise<void>
      return linked(signal, (own) => this.#transfer.write(offset, new ByteList(source), own))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Reads straight into device memory, without a copy, of `allocate()` or any that the device reaches. The buffers are the device's until the promise resolves;
   * where it rejects, until `onReleased`.
   */
  readInto(offset: number, buffers: DirectBuffers, control: DirectControl = none): Promise<void> {
    return this.#direct(BlockRequest.T_IN, offset, buffers, control)
  }

  /** Writes straight from device memory, which must not change meanwhile. Ownership as with `readInto`. */
  writeFrom(offset: number, buffers: DirectBuffers, control: DirectControl = none): Promise<void> {
    return this.#direct(BlockRequest.T_OUT, offset, buffers, control)
  }

  /** Device memory for `readInto` and `writeFrom`, zeroed; freed by `close()` only, so take little and use it again. */
  allocate(length: number, alignment?: number): DmaRegion {
    return this.#device.allocate(length, alignment)
  }

  /** Resolves when every write that was resolved before this call is safe. Without FLUSH the device keeps nothing back. */
  async flush({ signal }: RequestControl = {}): Promise<void> {
    this.#state.begin(0, 0, signal)
    if (this.#device.features.has('FLUSH')) await linked(signal, (own) => this.#commands.flush(own))
  }

  /**
   * Tells the device that a range is not needed any more: what is read there then may be anything.
   * @see VIRTIO 1.3 § 5.2.6.1 "Driver Requirements: Device Operation": without the unmap bit
   */
  discard(offset: number, length: number, control: RequestControl = {}): Promise<void> {
    return this.#range(BlockRequest.T_DISCARD, 'DISCARD', this.limits.discard, { offset, length }, false, control)
  }

  /** Makes a range read as zeroes; with `unmap` the device may give its storage back. */
  writeZeroes(
    offset: number,
    length: number,
    { unmap = false, ...control }: RequestControl & { readonly unmap?: boolean } = {},
  ): Promise<void> {
    const limits = this.limits.writeZeroes
    return this.#range(BlockRequest.T_WRITE_ZEROES, 'WRITE_ZEROES', limits, { offset, length }, unmap, control)
  }

  /** Destroys what a range holds, copies included. */
  secureErase(offset: number, length: number, control: RequestControl = {}): Promise<void> {
    const limits = this.limits.secureErase
    return this.#range(BlockRequest.T_SECURE_ERASE, 'SECURE_ERASE', limits, { offset, length }, false, control)
  }

  /** The device's name for itself, up to 20 characters; what is no printable ASCII comes as `?`. */
  async deviceId({ signal }: RequestControl = {}): Promise<string> {
    this.#state.begin(0, 0, signal)
    return linked(signal, (own) => this.#commands.deviceId(own))
  }

  async lifetime({ signal }: RequestControl = {}): Promise<BlockLifetime> {
    this.#state.begin(0, 0, signal)
    this.#state.need('LIFETIME', 'lifetime')
    return linked(signal, (own) => this.#commands.lifetime(own))
  }

  /** Switches the cache of a device with CONFIG_WCE. To `writethrough` it flushes: what was written before is safe then too. */
  async setWriteCache(cache: BlockCache): Promise<void> {
    this.#state.begin(0, 0, undefined)
    this.#state.need('CONFIG_WCE', 'setting the write cache')
    await this.#state.setCache(cache)
    // VIRTIO 1.3 § 5.2.6.1 "Driver Requirements: Device Operation": the switch itself commits nothing.
    if (cache === 'writethrough') await this.flush()
  }

  /** Zones from the one that holds `offset` on, `count` of them at most. @defaultValue `count` 4096 */
  async zones(offset: number = 0, count: number = 4096, { signal }: RequestControl = {}): Promise<Zone[]> {
    this.#state.begin(0, 0, signal)
    if (!(Number.isInteger(offset) && offset >= 0 && Number.isInteger(count) && count >= 0))
      throw new RangeError(`${count} zones from ${offset} on`)
    const zones = this.#zoneCommands()
    return linked(signal, (own) => zones.report(offset, count, own))
  }

  /** Bytes that `append()` takes at a time; 0 where the device cannot. */
  get maxAppend(): number {
    return this.#zones?.maxAppend ?? 0
  }

  /** Writes to the zone that begins at `offset`, at its write pointer. @returns where that was */
  async append(offset: number, source: Bytes, { signal }: RequestControl = {}): Promise<number> {
    this.#state.begin(0, 0, signal, 'append')
    if (this.maxAppend === 0) throw this.#state.error('block.unsupported', 'cannot append to zones')
    const zones = this.#zoneCommands()
    return linked(signal, (own) => zones.append(offset, new ByteList(source), own))
  }

  openZone(offset: number, control?: RequestControl): Promise<void> {
    return this.#zone(BlockRequest.T_ZONE_OPEN, offset, control)
  }

  closeZone(offset: number, control?: RequestControl): Promise<void> {
    return this.#zone(BlockRequest.T_ZONE_CLOSE, offset, control)
  }

  /** Makes the zone full, whatever it holds. */
  finishZone(offset: number, control?: RequestControl): Promise<void> {
    return this.#zone(BlockRequest.T_ZONE_FINISH, offset, control)
  }

  /** Empties the zone: what it held is gone. */
  resetZone(offset: number, control?: RequestControl): Promise<void> {
    return this.#zone(BlockRequest.T_ZONE_RESET, offset, control)
  }

  async resetAllZones({ signal }: RequestControl = {}): Promise<void> {
    this.#state.begin(0, 0, signal, 'zone reset')
    const zones = this.#zoneCommands()
    await linked(signal, (own) => zones.resetAll(own))
  }

  /** The disk, or a stretch of it, as a web stream; Node's own is `Readable.fromWeb(...)`. */
  readable(options: ReadableOptions = {}): ReadableStream<Uint8Array> {
    return readableOf(this, options)
  }

  /** Writes a stream to the disk, in order; Node's own is `Writable.fromWeb(...)`. Closing it flushes. */
  writable(options: WritableOptions = {}): WritableStream<Uint8Array> {
    return writableOf(this, options)
  }

  /** Counters since `open()`, flat, by names that stay. */
  stats(): Readonly<Record<string, number>> {
    const stats: Record<string, number> = {}
    this.#transfer.addStats(stats)
    this.#commands.addStats(stats)
    this.#channel.addStats(stats)
    stats.held = this.#pool.leases
    stats.waiting = this.#pool.waiting
    return stats
  }

  describe(): BlockDescription {
    const { limits, capacity, cache } = this.#state
    return { ...this.#device.describe(), block: { ...limits, capacity, readOnly: this.readOnly, cache } }
  }

  /** Resets the device and frees its memory; requests still open reject. Nothing is flushed. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#stop(this.#device.fault ?? this.#state.error('device.closed', 'was closed'))
    await this.#device.close()
  }

  #stop(reason: VirtioError): void {
    this.#watchdog.stop()
    this.#pool.close(reason)
  }

  #direct(type: number, offset: number, buffers: DirectBuffers, control: DirectControl): Promise<void> {
    const { signal, onReleased } = control
    const lone = loneOf(buffers)
    try {
      const length = lengthOf(buffers)
      this.#state.begin(offset, length, signal, type === BlockRequest.T_OUT ? 'write' : undefined)
      if (type === BlockRequest.T_OUT) this.#state.checkGranularity(offset, length)
      const quick = lone && !signal ? this.#quick.direct(type, offset, lone, onReleased) : undefined
      if (quick) return quick as Promise<void>
    } catch (error) {
      if (onReleased) queueMicrotask(onReleased)
      return Promise.reject(error)
    }
    const list = lone ? [lone] : (buffers as readonly RequestBuffer[])
    return linked(signal, (own) => this.#transfer.direct(type, offset, list, own, onReleased))
  }

  async #range(
    type: number,
    feature: 'DISCARD' | 'WRITE_ZEROES' | 'SECURE_ERASE',
    limits: RangeLimits | undefined,
    part: { readonly offset: number; readonly length: number },
    unmap: boolean,
    { signal }: RequestControl,
  ): Promise<void> {
    const name = feature.toLowerCase().replace('_', ' ')
    this.#state.begin(part.offset, part.length, signal, name)
    this.#state.need(feature, name)
    if (limits && part.length > 0) await linked(signal, (own) => this.#commands.range(type, part, limits, unmap, own))
  }

  async #zone(type: number, offset: number, { signal }: RequestControl = {}): Promise<void> {
    this.#state.begin(0, 0, signal, 'zone management')
    const zones = this.#zoneCommands()
    await linked(signal, (own) => zones.act(type, offset, own))
  }

  #zoneCommands(): ZoneCommands {
    if (this.#zones) return this.#zones
    throw this.#state.error('block.unsupported', 'is no zoned device')
  }
}
