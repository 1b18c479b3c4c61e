import type { VirtioDevice } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'
import { BalloonConfig, type BalloonFeatureName, BalloonHint, type BalloonQueueName } from '@virtio-ts/spec'
import type { GuardedSource } from './guarded-source.ts'
import { memoryOf } from './memory-of.ts'
import type { PageRange } from './page-source.ts'

const { CMD_ID_STOP, CMD_ID_DONE } = BalloonHint
/** Ranges with the device at a time. */
const BATCH = 16

/**
 * Tells a device that is being migrated which memory it need not copy, when it asks.
 * @see VIRTIO 1.3 § 5.5.6.5 "Free Page Hinting"
 */
export class FreePageHinter {
  readonly #device: VirtioDevice<BalloonFeatureName, BalloonQueueName>
  readonly #source: GuardedSource
  readonly #command: DmaRegion
  /** Ranges that were hinted, and are not to be used until the device is done. */
  #hinted: PageRange[] = []
  #current: number = CMD_ID_DONE
  #turn: Promise<void> = Promise.resolve()
  #rounds = 0

  constructor(device: VirtioDevice<BalloonFeatureName, BalloonQueueName>, source: GuardedSource) {
    this.#device = device
    this.#source = source
    this.#command = device.allocate(4)
  }

  get rounds(): number {
    return this.#rounds
  }

  /** Looks at what the device wants now. */
  async look(): Promise<void> {
    const command = await this.#device.config.read32(BalloonConfig.FREE_PAGE_HINT_CMD_ID)
    if (command === this.#current || this.#device.fault) return
    this.#current = command
    this.#turn = this.#turn.then(() => this.#obey(command)).catch(() => {})
    await this.#turn
  }

  /** After the end: what the device was hinted and did not let go of. */
  takeAll(): readonly PageRange[] {
    return this.#hinted.splice(0)
  }

  async #obey(command: number): Promise<void> {
    if (command === CMD_ID_STOP || this.#device.fault) return
    if (command !== CMD_ID_DONE) return this.#hint(command)
    this.#source.giveFree(this.#hinted.splice(0), 'lost')
  }

  /** VIRTIO 1.3 § 5.5.6.5.1 "Driver Requirements: Free Page Hinting": the command once, pages, and STOP at the end. */
  async #hint(command: number): Promise<void> {
    this.#rounds++
    await this.#say(command)
    const queue = this.#device.requestQueue('free_page_vq')
    while (this.#current === command && !this.#device.fault) {
      const ranges = this.#source.takeFree(BATCH, 'hint')
      if (ranges.length === 0) break
      this.#hinted.push(...ranges)
      await Promise.all(ranges.map((range) => queue.request({ writable: [memoryOf(range)] })))
    }
    await this.#say(CMD_ID_STOP)
  }

  async #say(command: number): Promise<void> {
    new DataView(this.#command.bytes.buffer, this.#command.bytes.byteOffset, 4).setUint32(0, command, true)
    await this.#device.requestQueue('free_page_vq').request({ readable: [this.#command] })
  }
}
