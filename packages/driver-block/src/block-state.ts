import { BlockConfig, VirtioError } from '@virtio-ts/spec'
import { type BlockLimits, readCapacity, readLimits } from './block-limits.ts'
import type { BlockDriverFeature } from './block-spec.ts'
import type { BlockDevice } from './request-channel.ts'

const { SECTOR } = BlockConfig

/** With `writeback` what was written is safe only after a flush. */
export type BlockCache = 'writeback' | 'writethrough'

interface Changing {
  capacity: number
  mayUnmap: boolean
  cache: BlockCache
}

/** What is known of the disk, and which requests make sense on it. */
export class BlockState {
  readonly limits: BlockLimits
  readonly readOnly: boolean
  readonly #device: BlockDevice
  readonly #blockSize: number
  /** What writes are multiples of. */
  readonly #granularity: number
  readonly #changing: Changing
  #refreshing = false
  #refreshAgain = false

  private constructor(device: BlockDevice, limits: BlockLimits, changing: Changing) {
    this.#device = device
    this.limits = limits
    this.#blockSize = limits.blockSize
    this.#granularity = limits.zoned?.writeGranularity ?? SECTOR
    this.readOnly = device.features.has('RO')
    this.#changing = changing
  }

  /** Only after FEATURES_OK. @throws VirtioError `block.config-invalid` */
  static async read(device: BlockDevice): Promise<BlockState> {
    const { features, config, location } = device
    const limits = await readLimits(features, config, location)
    const capacity = await readCapacity(config)
    return new BlockState(device, limits, {
      capacity,
      mayUnmap: await readMayUnmap(device),
      cache: await readCache(device),
    })
  }

  get capacity(): number {
    return this.#changing.capacity
  }

  get mayUnmap(): boolean {
    return this.#changing.mayUnmap
  }

  get cache(): BlockCache {
    return this.#changing.cache
  }

  /** @throws VirtioError `block.bad-answer` when the device does not do it */
  async setCache(cache: BlockCache): Promise<void> {
    await this.#device.config.write(BlockConfig.WRITEBACK, Uint8Array.of(cache === 'writeback' ? 1 : 0))
    this.#changing.cache = await readCache(this.#device)
    if (this.cache !== cache) throw this.error('block.bad-answer', `kept its cache ${this.cache}`)
  }

  /** @throws what is wrong with a request before the device hears of it. @param change what it would do to the disk */
  begin(offset: number, length: number, signal: AbortSignal | undefined, change?: string): void {
    signal?.throwIfAborted()
    if (this.#device.fault) throw this.#device.fault
    const blockSize = this.#blockSize
    if (!isMultiple(offset, blockSize) || !isMultiple(length, blockSize))
      throw new RangeError(`${length} bytes at ${offset}: both must be multiples of the block size, ${blockSize}`)
    if (change && this.readOnly) throw this.error('block.read-only', `is read-only: no ${change}`)
    this.checkEnd(offset, length)
  }

  /** VIRTIO 1.3 § 5.2.6.1 "Driver Requirements: Device Operation": nothing beyond the capacity is asked for. */
  checkEnd(offset: number, length: number): void {
    const { capacity } = this.#changing
    if (offset + length <= capacity) return
    throw this.error('block.out-of-range', `has ${capacity} bytes: bytes ${offset} to ${offset + length} are not there`)
  }

  /** Sequential zones take whole write units; which zones are sequential, only the device knows. */
  checkGranularity(offset: number, length: number): void {
    const granularity = this.#granularity
    if (!isMultiple(offset, granularity) || !isMultiple(length, granularity))
      throw new RangeError(`${length} bytes to write at ${offset}: both must be multiples of ${granularity} here`)
  }

  /** @throws VirtioError `block.unsupported` */
  need(feature: BlockDriverFeature, what: string): void {
    if (!this.#device.features.has(feature))
      throw this.error('block.unsupported', `did not negotiate ${feature}: no ${what}`)
  }

  error(code: string, text: string): VirtioError {
    const { location: device, generation } = this.#device
    return new VirtioError(code, `${device} ${text}`, { device, generation })
  }

  /** VIRTIO 1.3 § 5.2.6.1 "Driver Requirements: Device Operation": the capacity may have changed. */
  async refresh(onResize: (capacity: number) => void): Promise<void> {
    this.#refreshAgain = true
    if (this.#refreshing) return
    this.#refreshing = true
    try {
      while (this.#refreshAgain && !this.#device.fault) {
        this.#refreshAgain = false
        const capacity = await readCapacity(this.#device.config)
        this.#changing.mayUnmap = await readMayUnmap(this.#device)
        if (capacity === this.capacity || this.#device.fault) continue
        this.#changing.capacity = capacity
        onResize(capacity)
      }
    } catch {
      // The last good values stand; a device that is gone is told by its own fault.
    } finally {
      this.#refreshing = false
    }
  }
}

/** Of integers below 2^31, which most are, by comparing integers only. */
function isMultiple(value: number, unit: number): boolean {
  const small = value | 0
  if (small === value) return small >= 0 && small % unit === 0
  return Number.isSafeInteger(value) && value >= 0 && value % unit === 0
}

async function readMayUnmap({ features, config }: BlockDevice): Promise<boolean> {
  return features.has('WRITE_ZEROES') && (await config.read8(BlockConfig.WRITE_ZEROES_MAY_UNMAP)) !== 0
}

/** VIRTIO 1.3 § 5.2.5.1 "Driver Requirements: Device Initialization": what is to be assumed where the device does not say. */
async function readCache({ features, config }: BlockDevice): Promise<BlockCache> {
  if (features.has('CONFIG_WCE'))
    return (await config.read8(BlockConfig.WRITEBACK)) === 0 ? 'writethrough' : 'writeback'
  return features.has('FLUSH') ? 'writeback' : 'writethrough'
}
