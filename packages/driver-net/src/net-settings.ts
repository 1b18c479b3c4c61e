import type { DeviceFilter, FilterSettings } from './device-filter.ts'
import type { NetOffloads } from './net-offloads.ts'
import type { NetFeatures } from './net-spec.ts'
import type { CoalescingSettings, NotificationCoalescing } from './notification-coalescing.ts'
import type { HashConfig, RssConfig } from './steering-options.ts'

/**
 * What a device was told over time and forgets in a reset: plain data, for the driver that is opened on it afterwards (or on the device
 * that takes its place).
 */
export interface NetSettings extends FilterSettings {
  /** Only where it is not the device's own. */
  readonly mac?: Uint8Array
  /** Pairs in use. */
  readonly queuePairs?: number
  readonly rss?: RssConfig
  readonly hash?: HashConfig
  readonly coalescing?: CoalescingSettings
}

/** Options that were set come before what a driver had been told. */
export function withSettings<
  Options extends {
    mac?: Uint8Array
    rss?: boolean | RssConfig
    hashReport?: boolean | HashConfig
    settings?: NetSettings
  },
>(options: Options): Options {
  const { settings } = options
  if (!settings) return options
  return {
    ...options,
    ...(settings.mac && !options.mac && { mac: settings.mac }),
    ...(settings.rss && options.rss === true && { rss: settings.rss }),
    ...(settings.hash && options.hashReport === true && { hashReport: settings.hash }),
  }
}

/**
 * Tells the device what another one had been told; what it did not negotiate is left out.
 * @param negotiated receive offloads
 */
export async function restoreSettings(
  settings: NetSettings,
  features: NetFeatures,
  filter: DeviceFilter,
  coalescing: NotificationCoalescing,
  negotiated: NetOffloads,
): Promise<NetOffloads | undefined> {
  const { receiveMode, macTable, vlans = [], receiveOffloads } = settings
  const { receive, transmit, queues = [] } = settings.coalescing ?? {}
  if (macTable && features.has('CTRL_RX')) await filter.setMacTable(macTable)
  if (features.has('CTRL_VLAN')) for (const id of vlans) await filter.setVlan(id, true)
  if (receiveMode) {
    const { promiscuous, allMulticast, ...extra } = receiveMode
    if (features.has('CTRL_RX'))
      await filter.setReceiveMode({
        ...(promiscuous !== undefined && { promiscuous }),
        ...(allMulticast !== undefined && { allMulticast }),
      })
    if (features.has('CTRL_RX_EXTRA')) await filter.setReceiveMode(extra)
  }
  if (features.has('NOTF_COAL')) {
    if (receive) await coalescing.set('receive', receive)
    if (transmit) await coalescing.set('transmit', transmit)
  }
  if (features.has('VQ_NOTF_COAL'))
    for (const queue of queues) await coalescing.setQueue(queue.pair, queue.direction, queue.coalescing)
  if (!receiveOffloads || !features.has('CTRL_GUEST_OFFLOADS')) return undefined
  const both = {
    checksum: receiveOffloads.checksum && negotiated.checksum,
    tso4: receiveOffloads.tso4 && negotiated.tso4,
    tso6: receiveOffloads.tso6 && negotiated.tso6,
    ecn: receiveOffloads.ecn && negotiated.ecn,
    ufo: receiveOffloads.ufo && negotiated.ufo,
  }
  await filter.setOffloads(both, negotiated)
  return both
}
