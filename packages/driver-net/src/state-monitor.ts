import type { VirtioDevice } from '@virtio-ts/core'
import { isVirtioError } from '@virtio-ts/spec'
import type { ControlOptions } from './control-queue.ts'
import type { DeviceFilter } from './device-filter.ts'
import type { NetEventListeners } from './net-events.ts'
import type { NetDriverFeature, NetQueue } from './net-spec.ts'
import { findInvalid, type InvalidConfig, type LinkState, type NetState, readNetState, sameLink } from './net-state.ts'

export interface StateMonitorOptions {
  readonly device: VirtioDevice<NetDriverFeature, NetQueue>
  readonly filter: DeviceFilter
  readonly events: NetEventListeners
  /** What the configuration space said when the device was opened, all of it valid. */
  readonly initial: NetState
  /** Answer requests to announce without waiting for the owner. */
  readonly acknowledgeAtOnce: boolean
}

/** Follows the configuration space: link, requests to announce, and values that must not change. */
export class StateMonitor {
  readonly #options: StateMonitorOptions
  #link: LinkState
  #refreshing = false
  #refreshAgain = false
  /** The owner has been told of a request to announce, and it has not been acknowledged yet. */
  #announcing = false
  /** Counts acknowledgements: a reading from before the last one says nothing about requests. */
  #acknowledged = 0
  #invalid = ''
  #stopped = false
  #linkChanges = 0
  #announcements = 0
  #invalidCount = 0

  constructor(options: StateMonitorOptions) {
    this.#options = options
    this.#link = options.initial.link
  }

  get link(): LinkState {
    return this.#link
  }

  /** Tells of a request that was there from the start, once the owner has had the chance to listen. */
  start(): void {
    if (this.#options.initial.announce) setTimeout(() => this.#stopped || this.#announce(this.#acknowledged), 0)
  }

  /** Reads the configuration space, and once more if asked again meanwhile. Never rejects. */
  async refresh(): Promise<void> {
    this.#refreshAgain = true
    if (this.#refreshing) return
    this.#refreshing = true
    const { config, features } = this.#options.device
    while (this.#refreshAgain && !this.#stopped) {
      this.#refreshAgain = false
      const acknowledged = this.#acknowledged
      try {
        const state = await readNetState(config, features)
        if (!this.#stopped) this.#apply(state, acknowledged)
      } catch (error) {
        // A device that is gone is told by its own fault.
        if (!this.#stopped)
          this.#reportInvalid({ field: 'space', value: isVirtioError(error) ? error.code : String(error) })
      }
    }
    this.#refreshing = false
  }

  async acknowledgeAnnounce(options?: ControlOptions): Promise<void> {
    try {
      await this.#options.filter.acknowledgeAnnounce(options)
      this.#acknowledged++
    } finally {
      // After a failure the bit is still there, and the next reading tells of it again.
      this.#announcing = false
    }
  }

  stop(): void {
    this.#stopped = true
  }

  addStats(stats: Record<string, number>): void {
    stats.link_changes = this.#linkChanges
    stats.announcements = this.#announcements
    stats.config_invalid = this.#invalidCount
  }

  #apply(state: NetState, acknowledged: number): void {
    const invalid = findInvalid(state, this.#options.initial.mtu)
    if (invalid) this.#reportInvalid(invalid)
    else this.#invalid = ''
    if (!sameLink(state.link, this.#link)) {
      this.#link = state.link
      this.#linkChanges++
      this.#options.events.link.call(state.link)
    }
    if (state.announce) this.#announce(acknowledged)
  }

  /** Once per finding: a device that keeps saying it must not fill the owner's log. */
  #reportInvalid(what: InvalidConfig): void {
    const finding = `${what.field} ${what.value}`
    if (finding === this.#invalid) return
    this.#invalid = finding
    this.#invalidCount++
    this.#options.events['config-invalid'].call(what)
  }

  #announce(acknowledged: number): void {
    if (this.#announcing || acknowledged !== this.#acknowledged) return
    this.#announcing = true
    this.#announcements++
    const { announce } = this.#options.events
    const nobodyListens = announce.count === 0
    announce.call()
    // VIRTIO 1.3 § 5.1.6.5.4.1 "Driver Requirements: Gratuitous Packet Sending": the acknowledgement MUST be sent, also where nobody
    // has anything to announce.
    if (this.#options.acknowledgeAtOnce || nobodyListens) this.acknowledgeAnnounce().catch(() => {})
  }
}
