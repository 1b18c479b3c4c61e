import { DeviceStatus } from '@virtio-ts/spec'
import { Rules } from './rules.ts'
import type { ViolationLog } from './violation-log.ts'

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, FAILED } = DeviceStatus

/** Watches the order in which a driver moves the device status. */
export class StatusJudge {
  readonly #violations: ViolationLog
  /** The driver has reset the device and not yet read a 0. */
  #resetUnread = false
  /** FEATURES_OK was written and not read back. */
  #featuresUnread = false

  constructor(violations: ViolationLog) {
    this.#violations = violations
  }

  reset(): void {
    this.#resetUnread = true
    this.#featuresUnread = false
  }

  read(status: number): void {
    if (status === 0) this.#resetUnread = false
    this.#featuresUnread = false
  }

  write(before: number, status: number, legacy: boolean): void {
    const set = status & ~before
    if ((before & ~status) !== 0)
      this.#violations.record(
        Rules.STATUS,
        `status bits cleared: 0x${before.toString(16)} became 0x${status.toString(16)}`,
      )
    if ((before & FAILED) !== 0)
      this.#violations.record(Rules.STATUS, 'the driver went on after FAILED without a reset')
    if (this.#resetUnread && !legacy)
      this.#violations.record(Rules.COMMON_CONFIG, 'the driver did not wait until the status read 0 after a reset')
    this.#resetUnread = false
    const order = (bit: number, needed: number, text: string): void => {
      if ((set & bit) !== 0 && (status & needed) !== needed) this.#violations.record(Rules.INITIALIZATION, text)
    }
    order(DRIVER, ACKNOWLEDGE, 'DRIVER set before ACKNOWLEDGE')
    order(FEATURES_OK, ACKNOWLEDGE | DRIVER, 'FEATURES_OK set before ACKNOWLEDGE and DRIVER')
    order(DRIVER_OK, ACKNOWLEDGE | DRIVER, 'DRIVER_OK set before ACKNOWLEDGE and DRIVER')
    if (legacy) return
    order(DRIVER_OK, FEATURES_OK, 'DRIVER_OK set without FEATURES_OK')
    if ((set & DRIVER_OK) !== 0 && (this.#featuresUnread || (set & FEATURES_OK) !== 0))
      this.#violations.record(Rules.INITIALIZATION, 'FEATURES_OK was not read back before DRIVER_OK')
    if ((set & FEATURES_OK) !== 0) this.#featuresUnread = true
  }
}
