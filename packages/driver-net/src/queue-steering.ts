import { NetControl, VirtioError } from '@virtio-ts/spec'
import type { ControlOptions, ControlQueue } from './control-queue.ts'
import { write16, write32 } from './net-header.ts'
import type { NetDriverFeature, NetFeatures } from './net-spec.ts'
import {
  completeHash,
  completeRss,
  type HashConfig,
  type HashLimits,
  type HashSetting,
  type RssConfig,
  type RssSetting,
} from './steering-options.ts'

export interface QueueSteeringOptions {
  readonly control: ControlQueue | undefined
  readonly features: NetFeatures
  readonly device: string
  readonly limits: HashLimits
  /** Pairs set up. */
  readonly pairs: number
}

const { MQ } = NetControl

/**
 * How many queue pairs are in use, and which packets the device puts where: by its own rules (MQ) or by a table (RSS).
 * @see VIRTIO 1.3 § 5.1.6.5.5 "Device operation in multiqueue mode"
 */
export class QueueSteering {
  readonly #options: QueueSteeringOptions
  #pairs = 1
  #rssWanted: RssConfig = {}
  #hashWanted: HashConfig = {}
  #rss: RssSetting | undefined
  #hash: HashSetting | undefined

  constructor(options: QueueSteeringOptions) {
    this.#options = options
  }

  /** Pairs in use. */
  get pairs(): number {
    return this.#pairs
  }

  /** What the device was told; undefined without RSS. */
  get rss(): RssSetting | undefined {
    return this.#rss
  }

  /** How reported hashes are calculated; undefined without HASH_REPORT, and with RSS, which says it too. */
  get hash(): HashSetting | undefined {
    return this.#hash
  }

  /** The state after a reset is one pair and no hash: what differs is told. */
  async start(pairs: number, rss: RssConfig, hash: HashConfig): Promise<void> {
    this.#rssWanted = rss
    this.#hashWanted = hash
    if (pairs > 1 || this.#has('RSS') || this.#has('HASH_REPORT')) await this.setPairs(pairs)
  }

  /**
   * @throws RangeError for a number that cannot be, or fewer pairs than the owner's indirection table names
   * @see VIRTIO 1.3 § 5.1.6.5.6.1 "Driver Requirements: Automatic receive steering in multiqueue mode"
   */
  async setPairs(pairs: number, options?: ControlOptions): Promise<void> {
    if (!(Number.isInteger(pairs) && pairs >= 1 && pairs <= this.#options.pairs))
      throw new RangeError(`${pairs} queue pairs: 1 to ${this.#options.pairs} are set up`)
    if (this.#has('RSS')) await this.#configureRss(this.#rssWanted, pairs, options)
    else {
      if (this.#has('MQ')) {
        const data = new Uint8Array(2)
        write16(data, 0, pairs)
        await this.#require('MQ', 'several queue pairs').command(MQ.CLASS, MQ.VQ_PAIRS_SET, [data], options)
      }
      this.#pairs = pairs
      // A device may take the last command of this class for all there is to know: hashes are set up anew.
      if (this.#has('HASH_REPORT')) await this.setHash(this.#hashWanted, options)
    }
  }

  /** @see VIRTIO 1.3 § 5.1.6.5.7.1 "Setting RSS parameters" */
  async setRss(config: RssConfig, options?: ControlOptions): Promise<void> {
    this.#require('RSS', 'spreading packets by hash')
    await this.#configureRss(config, this.#pairs, options)
    this.#rssWanted = config
  }

  /** @see VIRTIO 1.3 § 5.1.6.5.6.4 "Hash calculation" */
  async setHash(config: HashConfig, options?: ControlOptions): Promise<void> {
    // With RSS its parameters are those of the hash, too.
    if (this.#has('RSS')) {
      const { table, unclassified } = this.#rssWanted
      return this.setRss(
        { ...config, ...(table && { table }), ...(unclassified !== undefined && { unclassified }) },
        options,
      )
    }
    const control = this.#require('HASH_REPORT', 'reporting hashes')
    const setting = completeHash(config, this.#options.limits)
    const data = new Uint8Array(12 + 1 + setting.key.length)
    write32(data, 0, setting.hashTypes)
    data[12] = setting.key.length
    data.set(setting.key, 13)
    await control.command(MQ.CLASS, MQ.HASH_CONFIG, [data], options)
    this.#hashWanted = config
    this.#hash = setting
  }

  async #configureRss(config: RssConfig, pairs: number, options: ControlOptions | undefined): Promise<void> {
    const control = this.#require('RSS', 'spreading packets by hash')
    const setting = completeRss(config, this.#options.limits, pairs)
    await control.command(MQ.CLASS, MQ.RSS_CONFIG, [encodeRss(setting, pairs)], options)
    this.#pairs = pairs
    this.#rss = setting
  }

  #has(feature: NetDriverFeature): boolean {
    return this.#options.features.has(feature)
  }

  #require(feature: NetDriverFeature, what: string): ControlQueue {
    const { control, device } = this.#options
    if (control && this.#has(feature)) return control
    throw new VirtioError('net.unsupported', `${device}: ${what} needs ${feature}, which was not negotiated`, {
      device,
    })
  }
}

/** struct virtio_net_rss_config; a receive queue's number is its index without the lowest bit, so its pair's. */
function encodeRss({ hashTypes, key, table, unclassified }: RssSetting, pairs: number): Uint8Array {
  const behindTable = 8 + 2 * table.length
  const data = new Uint8Array(behindTable + 2 + 1 + key.length)
  write32(data, 0, hashTypes)
  write16(data, 4, table.length - 1)
  write16(data, 6, unclassified)
  for (const [i, pair] of table.entries()) write16(data, 8 + 2 * i, pair)
  write16(data, behindTable, pairs)
  data[behindTable + 2] = key.length
  data.set(key, behindTable + 3)
  return data
}
