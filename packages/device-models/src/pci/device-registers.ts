import { hasFeature, ReservedFeature } from '@virtio-ts/spec'
import type { DeviceCore } from '../device-core.ts'
import { Rules } from '../rules.ts'
import { NOTIFY_DATA_BASE } from './common-registers.ts'
import type { RegisterBlock, Width } from './register-block.ts'

/** The device-specific configuration. @see VIRTIO 1.3 § 4.1.4.6 "Device-specific configuration" */
export function deviceConfigRegisters(core: DeviceCore): RegisterBlock {
  return {
    length: core.config.length,
    read: (offset, width) => core.readConfig(offset, width, false),
    write: (offset, width, value) => core.writeConfig(offset, width, value, false),
  }
}

/** @see VIRTIO 1.3 § 4.1.4.5 "ISR status capability" */
export function isrRegister(readIsr: () => number): RegisterBlock {
  return { length: 1, read: (offset) => (offset === 0 ? readIsr() : 0), write: () => undefined }
}

/**
 * Where the driver sends available buffer notifications.
 * @param multiplier notify_off_multiplier; with 0 all queues share one address, and the value alone tells which is meant
 * @see VIRTIO 1.3 § 4.1.4.4 "Notification structure layout"
 */
export function notifyRegisters(core: DeviceCore, multiplier: number): RegisterBlock {
  return {
    length: (core.queues.length - 1) * multiplier + 4,
    read: () => 0,
    write(offset: number, width: Width, value: number): void {
      const base = hasFeature(core.features, ReservedFeature.NOTIF_CONFIG_DATA) ? NOTIFY_DATA_BASE : 0
      const sent = (value & 0xffff) - base
      const index = multiplier === 0 ? sent : Math.floor(offset / multiplier)
      const withData = hasFeature(core.features, ReservedFeature.NOTIFICATION_DATA)
      if (width !== (withData ? 4 : 2)) core.violation(Rules.NOTIFICATIONS, `a notification of ${width * 8} bits`)
      if (sent !== index || (multiplier !== 0 && offset % multiplier !== 0))
        core.violation(Rules.NOTIFICATIONS, `value ${value & 0xffff} sent to the address of queue ${index}`)
      core.notify(index, withData ? value >>> 16 : undefined)
    },
  }
}
