import { deviceAddress } from '@virtio-ts/memory'
import { BALLOON_PAGE, VirtioError } from '@virtio-ts/spec'
import type { BalloonEventListeners } from './balloon-events.ts'
import type { PageRange, PageSource } from './page-source.ts'

/** A page number on the wire has 32 bits. */
const LAST_PAGE = 0xffffffff

/**
 * The owner's page source, which may be wrong: what it throws, and pages that cannot be, are told by `source-failed` and keep the balloon
 * from nothing else.
 */
export class GuardedSource {
  readonly #pages: PageSource
  readonly #poison: number | undefined
  readonly #events: BalloonEventListeners
  readonly #device: string

  /** @param poison what pages are filled with before they are given back */
  constructor(pages: PageSource, poison: number | undefined, events: BalloonEventListeners, device: string) {
    this.#pages = pages
    this.#poison = poison
    this.#events = events
    this.#device = device
  }

  take(most: number): readonly number[] {
    const taken = this.#guard('take', () => this.#pages.take(most)) ?? []
    const bad = taken.find((page) => !Number.isInteger(page) || page < 0 || page > LAST_PAGE)
    if (bad === undefined && taken.length <= most) return taken
    this.#tell('take', new RangeError(bad === undefined ? `${taken.length} pages, asked for ${most}` : `page ${bad}`))
    this.#guard('give', () => this.#pages.give(taken))
    return []
  }

  /** VIRTIO 1.3 § 5.5.6.6.1 "Driver Requirements: Page Poison": filled first, where that was agreed. */
  give(pages: readonly number[]): void {
    this.#guard('give', () => {
      this.#fill(pages.map((page) => ({ address: deviceAddress(page * BALLOON_PAGE), length: BALLOON_PAGE })))
      this.#pages.give(pages)
    })
  }

  abandon(pages: readonly number[]): void {
    this.#guard('abandon', () => this.#pages.abandon?.(pages))
  }

  /** VIRTIO 1.3 § 5.5.6.7.1 "Driver Requirements: Free Page Reporting": filled with the poison value, where that was agreed. */
  takeFree(most: number, purpose: 'report' | 'hint'): readonly PageRange[] {
    const taken = this.#guard('takeFree', () => this.#pages.takeFree?.(most, purpose)) ?? []
    const bad = taken.find(({ address, length }) => !isPages(address) || !isPages(length) || length === 0)
    if (bad || taken.length > most) {
      const what = bad ? `${bad.length} bytes at ${bad.address}` : `${taken.length} ranges, asked for ${most}`
      this.#tell('takeFree', new RangeError(what))
      this.giveFree(taken)
      return []
    }
    this.#guard('fill', () => this.#fill(taken))
    return taken
  }

  /** @param content `lost` where the device may have changed it: it is filled again */
  giveFree(ranges: readonly PageRange[], content: 'kept' | 'lost' = 'kept'): void {
    if (ranges.length === 0) return
    this.#guard('giveFree', () => {
      if (content === 'lost') this.#fill(ranges)
      this.#pages.giveFree?.(ranges)
    })
  }

  abandonFree(ranges: readonly PageRange[]): void {
    if (ranges.length > 0) this.#guard('abandonFree', () => this.#pages.abandonFree?.(ranges))
  }

  #fill(ranges: readonly PageRange[]): void {
    const poison = this.#poison
    if (poison === undefined) return
    for (const range of ranges) this.#pages.fill?.(range, poison)
  }

  #guard<T>(method: string, act: () => T): T | undefined {
    try {
      return act()
    } catch (error) {
      this.#tell(method, error)
      return undefined
    }
  }

  #tell(method: string, cause: unknown): void {
    const why = cause instanceof Error ? cause.message : String(cause)
    const message = `the page source of ${this.#device} failed in ${method}: ${why}; correct the source`
    this.#events['source-failed'].call(new VirtioError('balloon.page-source', message, { device: this.#device, cause }))
  }
}

function isPages(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value % BALLOON_PAGE === 0 && value < 2 ** 44
}
