import type { BalloonStatistics } from '@virtio-ts/driver-balloon'

/** The statistics of a balloon, and where each comes from. */
const fromVmstat = {
  majorFaults: 'pgmajfault',
  minorFaults: 'pgfault',
  hugePageAllocations: 'htlb_buddy_alloc_success',
  hugePageFailures: 'htlb_buddy_alloc_fail',
} as const
const pagesFromVmstat = { swapIn: 'pswpin', swapOut: 'pswpout', caches: 'nr_file_pages' } as const
const fromMeminfo = { free: 'MemFree', total: 'MemTotal', available: 'MemAvailable' } as const

/**
 * What the device is told about this machine; what the kernel does not say is left out.
 * @param meminfo the fields of `/proc/meminfo`, in bytes
 * @param vmstat those of `/proc/vmstat`
 * @param pageSize of the machine, in bytes
 * @see VIRTIO 1.3 § 5.5.6.4 "Memory Statistics Tags"
 */
export function machineStatistics(
  meminfo: ReadonlyMap<string, number>,
  vmstat: ReadonlyMap<string, number>,
  pageSize: number,
): BalloonStatistics {
  const pick = (names: Readonly<Record<string, string>>, from: ReadonlyMap<string, number>, unit: number) =>
    Object.entries(names).flatMap(([key, name]) => {
      const value = from.get(name)
      return value === undefined ? [] : [[key, value * unit] as const]
    })
  return Object.fromEntries([
    ...pick(fromMeminfo, meminfo, 1),
    ...pick(fromVmstat, vmstat, 1),
    ...pick(pagesFromVmstat, vmstat, pageSize),
  ])
}
