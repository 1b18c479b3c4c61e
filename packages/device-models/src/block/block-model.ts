import {
  BlockConfig,
  BlockFeature,
  DeviceType,
  type FeatureBit,
  type FeatureDependency,
  hasFeature,
} from '@virtio-ts/spec'
import type { DescriptorChain } from '../descriptor-chain.ts'
import type { ConfigField, DeviceHost, DeviceModel } from '../device-model.ts'
import type { DeviceRing } from '../device-ring.ts'
import { Rules } from '../rules.ts'
import { blockConfigBytes, blockConfigFields } from './block-config.ts'
import { BlockExecutor } from './block-executor.ts'
import { type BlockModelOptions, offeredBlockFeatures } from './block-options.ts'
import type { BlockStorage } from './block-storage.ts'
import { BlockStore } from './block-store.ts'
import { RequestJudge } from './request-judge.ts'
import { seeRequest } from './seen-request.ts'
import { type ModelZone, ZoneTable } from './zone-table.ts'

const DEFAULT_CAPACITY = 8192

interface Held {
  readonly ring: DeviceRing
  readonly chain: DescriptorChain
}

/**
 * The block device, with everything the specification knows: also secure erase, lifetime and zones.
 * @see VIRTIO 1.3 § 5.2 "Block Device"
 */
export class BlockModel implements DeviceModel {
  readonly name: string = 'block'
  readonly deviceType: number = DeviceType.BLOCK
  readonly features: bigint
  readonly featureBits: Readonly<Record<string, FeatureBit>> = BlockFeature
  readonly featureDependencies: readonly FeatureDependency[] = []
  readonly queueSizes: readonly number[]
  readonly config: Uint8Array
  readonly configFields: readonly ConfigField[] = blockConfigFields
  readonly classCode: number = 0x010000
  /** What is on the disk. */
  readonly store: BlockStorage
  readonly #options: BlockModelOptions
  readonly #view: DataView
  readonly #zones: ZoneTable | undefined
  readonly #executor: BlockExecutor
  #host: DeviceHost | undefined
  #judge: RequestJudge | undefined
  #holding = false
  #held: Held[] = []
  #requests = 0

  constructor(options: BlockModelOptions = {}) {
    const capacity = options.capacity ?? DEFAULT_CAPACITY
    this.#options = options
    this.store = options.storage ?? new BlockStore()
    this.features = offeredBlockFeatures(options)
    this.queueSizes = Array.from({ length: options.queues ?? 1 }, () => options.queueSize ?? 128)
    this.config = blockConfigBytes(options, capacity)
    this.#view = new DataView(this.config.buffer)
    this.#zones = options.zoned && new ZoneTable(options.zoned, capacity)
    this.#executor = new BlockExecutor({
      options,
      store: this.store,
      zones: this.#zones,
      capacity: () => this.capacity,
      features: () => this.#host?.features ?? 0n,
      writeback: () => this.writeback,
    })
  }

  /** In 512-byte sectors. */
  get capacity(): number {
    return Number(this.#view.getBigUint64(BlockConfig.CAPACITY, true))
  }

  get zones(): readonly ModelZone[] {
    return this.#zones?.zones ?? []
  }

  /** Requests answered. */
  get requests(): number {
    return this.#requests
  }

  get flushes(): number {
    return this.#executor.flushes
  }

  get discarded(): number {
    return this.#executor.discarded
  }

  get writeback(): boolean {
    return this.#view.getUint8(BlockConfig.WRITEBACK) !== 0
  }

  /** Requests taken and not answered because of `hold()`. */
  get held(): number {
    return this.#held.length
  }

  attach(host: DeviceHost): void {
    this.#host = host
    this.#judge = new RequestJudge(host, this.config)
  }

  /** Another capacity, in sectors; the driver is told. */
  resize(capacity: number): void {
    this.#view.setBigUint64(BlockConfig.CAPACITY, BigInt(capacity), true)
    this.#host?.configChanged(true)
  }

  /** Takes requests from now on, and answers none until `release()`. */
  hold(): void {
    this.#holding = true
  }

  /** Answers what is held, or `count` requests of it, the oldest first, or in the order `pick` puts them; without `count` nothing is held any more. */
  release(
    count: number = Number.POSITIVE_INFINITY,
    pick: (held: readonly Held[]) => readonly Held[] = (held) => held,
  ): void {
    if (count === Number.POSITIVE_INFINITY) this.#holding = false
    const order = pick(this.#held).slice(0, count)
    this.#held = this.#held.filter((held) => !order.includes(held))
    const rings = new Set<DeviceRing>()
    for (const { ring, chain } of order) {
      this.#answer(ring, chain)
      rings.add(ring)
    }
    for (const ring of rings) ring.flush()
  }

  onNotify(queue: number): void {
    const ring = this.#host?.ring(queue)
    if (!ring) return
    ring.suppressNotifications()
    do {
      const taken: DescriptorChain[] = []
      for (let chain = ring.take(); chain; chain = ring.take()) taken.push(chain)
      if (this.#options.order === 'reversed') taken.reverse()
      for (const chain of taken) {
        if (this.#holding) this.#held.push({ ring, chain })
        else this.#answer(ring, chain)
      }
    } while (ring.requestNotifications())
    ring.flush()
  }

  onDriverOk(): void {
    const accepted = this.#host?.features ?? 0n
    const zonedWithDiscard =
      this.#options.zoned?.model === 'host-managed' &&
      hasFeature(accepted, BlockFeature.ZONED) &&
      hasFeature(accepted, BlockFeature.DISCARD)
    if (zonedWithDiscard)
      this.#host?.violation(Rules.BLOCK_INITIALIZATION, 'DISCARD was accepted of a host-managed device')
    // VIRTIO 1.3 § 5.2.5.2 "Device Requirements: Device Initialization": what cannot be flushed is not kept back.
    if (hasFeature(accepted, BlockFeature.CONFIG_WCE) && !hasFeature(accepted, BlockFeature.FLUSH))
      this.config[BlockConfig.WRITEBACK] = 0
  }

  onReset(): void {
    this.#held = []
    this.config[BlockConfig.WRITEBACK] = this.#options.writeback === false ? 0 : 1
  }

  /** VIRTIO 1.3 § 5.2.5.2 "Device Requirements: Device Initialization": nobody drives a host-managed device who does not know zones. */
  takesFeatures(accepted: bigint): boolean {
    return this.#options.zoned?.model !== 'host-managed' || hasFeature(accepted, BlockFeature.ZONED)
  }

  /** The cache mode is the only field that a driver may write. */
  onConfigWrite(offset: number, bytes: Uint8Array): boolean {
    const mode = bytes[0] ?? 0
    const legal = offset === BlockConfig.WRITEBACK && bytes.length === 1 && mode <= 1
    if (!legal || !hasFeature(this.#host?.features ?? 0n, BlockFeature.CONFIG_WCE)) {
      this.#host?.violation(Rules.BLOCK_OPERATION, `configuration at ${offset} was written`)
      return false
    }
    this.config[BlockConfig.WRITEBACK] = mode
    return true
  }

  #answer(ring: DeviceRing, chain: DescriptorChain): void {
    const request = seeRequest(chain)
    this.#judge?.judge(chain, request)
    this.#requests++
    if (!request) {
      ring.push(chain, 0)
      return
    }
    const { status, answer = new Uint8Array(0) } = this.#executor.execute(request)
    const moment = {
      ring,
      type: request.type,
      sector: request.sector,
      room: request.room,
      status,
      answer,
      writesStatus: true,
      written: status === 0 ? chain.writableLength : 1,
    }
    this.#host?.show('block-request', moment)
    chain.write(moment.answer.subarray(0, request.room))
    if (moment.writesStatus) chain.write(Uint8Array.of(moment.status), request.room)
    ring.push(chain, moment.written)
  }
}
