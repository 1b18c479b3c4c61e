import {
  BALLOON_PAGE,
  BalloonConfig,
  BalloonFeature,
  type BalloonFeatureName,
  BalloonHint,
  type BalloonQueueName,
  BalloonStat,
  DeviceType,
  type FeatureBit,
  type FeatureDependency,
  featureSet,
  hasFeature,
} from '@virtio-ts/spec'
import type { DescriptorChain } from '../descriptor-chain.ts'
import type { ConfigField, DeviceHost, DeviceModel } from '../device-model.ts'
import type { DeviceRing } from '../device-ring.ts'
import { Rules } from '../rules.ts'

export interface BalloonModelOptions {
  /** Features offered. @defaultValue all of them */
  readonly features?: Readonly<Partial<Record<BalloonFeatureName, boolean>>>
  /** Whether queues of features that are not offered leave gaps (`fixed`, as the specification numbers them). @defaultValue 'dense' */
  readonly queueNumbers?: 'dense' | 'fixed'
  /** @defaultValue 64 */
  readonly queueSize?: number
}

/** A stretch of memory that was reported or hinted: its length in bytes. */
export interface FreeRange {
  readonly length: number
  /** Every byte, if all of them are the same. */
  readonly value: number | undefined
}

/** Features that come with a queue, in the order of the queues. */
const QUEUES = ['inflateq', 'deflateq', 'statsq', 'free_page_vq', 'reporting_vq'] as const
const FEATURES = [undefined, undefined, 'STATS_VQ', 'FREE_PAGE_HINT', 'PAGE_REPORTING'] as const
const { FREE_PAGE_HINT, PAGE_POISON, PAGE_REPORTING } = BalloonFeature

/**
 * The memory balloon: wants memory, counts what it gets, and holds the driver to the rules.
 * @see VIRTIO 1.3 § 5.5 "Traditional Memory Balloon Device"
 */
export class BalloonModel implements DeviceModel {
  readonly name: string = 'balloon'
  readonly deviceType: number = DeviceType.BALLOON
  readonly features: bigint
  readonly featureBits: Readonly<Record<string, FeatureBit>> = BalloonFeature
  readonly featureDependencies: readonly FeatureDependency[] = []
  readonly queueSizes: readonly number[]
  readonly config: Uint8Array
  readonly configFields: readonly ConfigField[] = [
    { name: 'num_pages', offset: BalloonConfig.NUM_PAGES, width: 4 },
    { name: 'actual', offset: BalloonConfig.ACTUAL, width: 4 },
    {
      name: 'free_page_hint_cmd_id',
      offset: BalloonConfig.FREE_PAGE_HINT_CMD_ID,
      width: 4,
      features: [FREE_PAGE_HINT],
    },
    { name: 'poison_val', offset: BalloonConfig.POISON_VAL, width: 4, features: [PAGE_POISON] },
  ]
  readonly classCode: number = 0x00ff00
  /** Page numbers in the balloon now. */
  readonly pages: Set<number> = new Set()
  /** By tag, as the driver said last. */
  readonly statistics: Map<number, bigint> = new Map()
  /** Ranges reported by the driver, one list for each request. */
  readonly reports: FreeRange[][] = []
  /** Ranges hinted in the current round. */
  readonly hints: FreeRange[] = []
  /** Commands of the driver on free_page_vq, in order. */
  readonly hintCommands: number[] = []
  readonly #names: readonly (BalloonQueueName | undefined)[]
  #host: DeviceHost | undefined
  #acknowledging = true
  #statistics: DescriptorChain | undefined
  #subset: string | undefined
  #poisonWritten = false

  constructor(options: BalloonModelOptions = {}) {
    const offered = (name: BalloonFeatureName): boolean => options.features?.[name] ?? true
    const bits = (Object.keys(BalloonFeature) as BalloonFeatureName[]).filter(offered)
    this.features = featureSet(...bits.map((name) => BalloonFeature[name]))
    const all = QUEUES.map((name, index) => {
      const feature = FEATURES[index]
      return feature === undefined || offered(feature) ? name : undefined
    })
    this.#names = options.queueNumbers === 'fixed' ? all : all.filter((name) => name !== undefined)
    this.queueSizes = this.#names.map((name) => (name === undefined ? 0 : (options.queueSize ?? 64)))
    // The configuration ends with the last field there is.
    this.config = new Uint8Array(offered('PAGE_POISON') ? 16 : offered('FREE_PAGE_HINT') ? 12 : 8)
  }

  /** Pages that the driver says are in the balloon. */
  get actual(): number {
    return this.#view.getUint32(BalloonConfig.ACTUAL, true)
  }

  /** What the driver wrote to poison_val. */
  get poison(): number {
    return this.config.length > BalloonConfig.POISON_VAL ? this.#view.getUint32(BalloonConfig.POISON_VAL, true) : 0
  }

  /** Pages wanted; the driver is told. */
  get target(): number {
    return this.#view.getUint32(BalloonConfig.NUM_PAGES, true)
  }

  set target(pages: number) {
    this.#view.setUint32(BalloonConfig.NUM_PAGES, pages, true)
    this.#host?.configChanged(true)
  }

  /** While false, requests of the driver stay where they are. */
  get acknowledging(): boolean {
    return this.#acknowledging
  }

  set acknowledging(acknowledging: boolean) {
    this.#acknowledging = acknowledging
    for (let queue = 0; acknowledging && queue < this.#names.length; queue++) this.onNotify(queue)
  }

  /** Whether the driver has left a buffer of statistics to ask with. */
  get hasStatistics(): boolean {
    return this.#statistics !== undefined
  }

  /** Asks for new statistics. @returns false while there is nothing to ask with */
  requestStatistics(): boolean {
    const ring = this.#ring('statsq')
    if (!ring || !this.#statistics) return false
    const chain = this.#statistics
    this.#statistics = undefined
    ring.use(chain, 0)
    return true
  }

  /** Sets free_page_hint_cmd_id; 2 and more begin a round. */
  hint(command: number): void {
    if (command > BalloonHint.CMD_ID_DONE) this.hints.length = 0
    this.#view.setUint32(BalloonConfig.FREE_PAGE_HINT_CMD_ID, command, true)
    this.#host?.configChanged(true)
  }

  attach(host: DeviceHost): void {
    this.#host = host
  }

  onReset(): void {
    this.pages.clear()
    this.#statistics = undefined
    this.#subset = undefined
    this.#poisonWritten = false
    if (this.config.length > BalloonConfig.POISON_VAL) this.#view.setUint32(BalloonConfig.POISON_VAL, 0, true)
  }

  onDriverOk(): void {
    if (this.#has(PAGE_POISON) && !this.#poisonWritten)
      this.#violation(Rules.BALLOON_POISON, 'poison_val was not written before DRIVER_OK')
  }

  onConfigWrite(offset: number, bytes: Uint8Array, legacy: boolean): boolean {
    if (offset === BalloonConfig.ACTUAL && bytes.length === 4) {
      this.config.set(bytes, offset)
      if (this.actual !== this.pages.size)
        this.#violation(Rules.BALLOON, `actual is ${this.actual}, with ${this.pages.size} pages in the balloon`)
      return true
    }
    if (offset === BalloonConfig.POISON_VAL && bytes.length === 4 && (this.#has(PAGE_POISON) || legacy)) {
      if (this.#host?.driverOk) this.#violation(Rules.BALLOON_POISON, 'poison_val was written after DRIVER_OK')
      this.#poisonWritten = true
      this.config.set(bytes, offset)
      return true
    }
    this.#violation(Rules.CONFIG_SPACE, `${bytes.length} bytes of configuration written at ${offset}`)
    return false
  }

  onNotify(queue: number): void {
    const name = this.#names[queue]
    const ring = this.#host?.ring(queue)
    if (!ring || !name || !this.#acknowledging) return
    ring.suppressNotifications()
    do {
      for (let chain = ring.take(); chain; chain = ring.take()) {
        if (name === 'statsq') this.#takeStatistics(ring, chain)
        else {
          this.#take(name, chain)
          ring.push(chain, 0)
        }
      }
    } while (ring.requestNotifications())
    ring.flush()
  }

  get #view(): DataView {
    return new DataView(this.config.buffer)
  }

  #has(feature: FeatureBit): boolean {
    return hasFeature(this.#host?.features ?? 0n, feature)
  }

  #ring(name: BalloonQueueName): DeviceRing | undefined {
    return this.#host?.ring(this.#names.indexOf(name))
  }

  #violation(rule: (typeof Rules)[keyof typeof Rules], text: string): void {
    this.#host?.violation(rule, text)
  }

  #take(name: Exclude<BalloonQueueName, 'statsq'>, chain: DescriptorChain): void {
    if (name === 'inflateq') this.#inflate(chain)
    else if (name === 'deflateq') this.#deflate(chain)
    else if (name === 'free_page_vq') this.#takeHint(chain)
    else this.#takeReport(chain)
  }

  #pageNumbers(chain: DescriptorChain, queue: string): number[] {
    const bytes = chain.read()
    if (chain.writable.length > 0 || bytes.length === 0 || bytes.length % 4 !== 0)
      this.#violation(Rules.BALLOON, `${queue}: ${bytes.length} bytes and ${chain.writable.length} writable buffers`)
    const view = new DataView(bytes.buffer)
    return Array.from({ length: Math.floor(bytes.length / 4) }, (_, n) => view.getUint32(4 * n, true))
  }

  #inflate(chain: DescriptorChain): void {
    for (const page of this.#pageNumbers(chain, 'inflateq')) {
      if (this.pages.has(page)) this.#violation(Rules.BALLOON, `page ${page} was put into the balloon twice`)
      this.pages.add(page)
    }
  }

  #deflate(chain: DescriptorChain): void {
    for (const page of this.#pageNumbers(chain, 'deflateq'))
      if (!this.pages.delete(page))
        this.#violation(Rules.BALLOON, `page ${page} was asked for, which is not in the balloon`)
  }

  /** VIRTIO 1.3 § 5.5.6.3.1 "Driver Requirements: Memory Statistics" */
  #takeStatistics(ring: DeviceRing, chain: DescriptorChain): void {
    const bytes = chain.read()
    if (this.#statistics) {
      this.#violation(Rules.BALLOON_STATISTICS, 'a second buffer in the statsq')
      ring.push(this.#statistics, 0)
    }
    this.#statistics = chain
    if (bytes.length === 0 || bytes.length % 6 !== 0 || bytes.length % BalloonStat.ENTRY_LENGTH !== 0)
      this.#violation(Rules.BALLOON_STATISTICS, `a buffer of ${bytes.length} bytes`)
    const view = new DataView(bytes.buffer)
    const tags: number[] = []
    for (let at = 0; at + BalloonStat.ENTRY_LENGTH <= bytes.length; at += BalloonStat.ENTRY_LENGTH) {
      const tag = view.getUint16(at, true)
      tags.push(tag)
      if (tag <= BalloonStat.S_HTLB_PGFAIL) this.statistics.set(tag, view.getBigUint64(at + 2, true))
    }
    const subset = [...new Set(tags)].sort((a, b) => a - b).join(' ')
    if (this.#subset !== undefined && this.#subset !== subset)
      this.#violation(Rules.BALLOON_STATISTICS, `the statistics ${this.#subset} became ${subset}`)
    this.#subset = subset
  }

  /** VIRTIO 1.3 § 5.5.6.5.1 "Driver Requirements: Free Page Hinting" */
  #takeHint(chain: DescriptorChain): void {
    if (chain.readable.length > 0) {
      const bytes = chain.read()
      if (bytes.length !== 4) return this.#violation(Rules.BALLOON_HINTING, `a command of ${bytes.length} bytes`)
      const command = new DataView(bytes.buffer).getUint32(0, true)
      const last = this.hintCommands.at(-1)
      if (command !== BalloonHint.CMD_ID_STOP && command === last)
        this.#violation(Rules.BALLOON_HINTING, `command ${command} was given twice`)
      this.hintCommands.push(command)
      return
    }
    if ((this.hintCommands.at(-1) ?? 0) === BalloonHint.CMD_ID_STOP)
      this.#violation(Rules.BALLOON_HINTING, 'pages were hinted without a command')
    // VIRTIO 1.3 § 5.5.6.5.2 "Device Requirements: Free Page Hinting": those of another command are ignored.
    if (this.hintCommands.at(-1) === this.#view.getUint32(BalloonConfig.FREE_PAGE_HINT_CMD_ID, true))
      this.hints.push(...chain.writable.map(rangeOf))
  }

  #takeReport(chain: DescriptorChain): void {
    if (chain.readable.length > 0) this.#violation(Rules.BALLOON_REPORTING, 'a device-readable buffer in a report')
    const ranges = chain.writable.map(rangeOf)
    this.reports.push(ranges)
    for (const { length } of ranges)
      if (length % BALLOON_PAGE !== 0) this.#violation(Rules.BALLOON_REPORTING, `a range of ${length} bytes`)
    const poison = this.poison & 0xff
    if (this.#has(PAGE_REPORTING) && this.#has(PAGE_POISON)) {
      if (ranges.some(({ value }) => value !== poison))
        this.#violation(Rules.BALLOON_REPORTING, 'reported memory that does not hold poison_val')
    } else for (const element of chain.writable) element.fill(0)
  }
}

function rangeOf(element: Uint8Array): FreeRange {
  const first = element[0]
  return { length: element.length, value: element.every((byte) => byte === first) ? first : undefined }
}
