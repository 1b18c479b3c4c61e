import { renderTable } from '@virtio-ts/command-line'
import type { BlockDriver, BlockLimits, RangeLimits } from '@virtio-ts/driver-block'
import { formatSize } from '../disk/size.ts'

const SECTOR = 512
/** What a device states that knows no limit. */
const ANY = 0xffffffff

/** What `blkd info --json` prints. Sizes in bytes, ranges in sectors of 512 bytes. */
export interface DiskDescription extends BlockLimits {
  readonly device: string
  readonly serial: string | undefined
  readonly capacity: number
  readonly readOnly: boolean
  readonly cache: string
  /** Whether write zeroes may give storage back. */
  readonly mayUnmap: boolean
  readonly transport: string
  readonly location: string
  readonly interrupts: string
  readonly vectors: number
  readonly features: readonly string[]
  readonly queues: readonly { readonly name: string; readonly size: number }[]
}

export function describeDisk(device: string, driver: BlockDriver, serial: string | undefined): DiskDescription {
  const { block, transport, location, interrupts, vectors, features, queues } = driver.describe()
  return {
    device,
    serial,
    ...block,
    mayUnmap: driver.mayUnmap,
    transport,
    location,
    interrupts,
    vectors,
    features,
    queues: queues.map(({ name, size }) => ({ name, size })),
  }
}

/** The same for people; without a final line feed. */
export function renderDisk(disk: DiskDescription): string {
  const { topology, zoned } = disk
  const rows: (readonly [string, string])[] = [
    ['device', disk.device],
    ['serial', disk.serial ?? 'none'],
    ['capacity', `${formatSize(disk.capacity)} (${disk.capacity} bytes)`],
    ['block size', `${disk.blockSize} bytes`],
    ['access', disk.readOnly ? 'read-only' : 'read and write'],
    ['write cache', disk.cache],
    ['segments', `${disk.segMax} of ${disk.sizeMax === ANY ? 'any length' : formatSize(disk.sizeMax)} in a request`],
    ['discard', rangeText(disk.discard)],
    ['write zeroes', `${rangeText(disk.writeZeroes)}${disk.writeZeroes && disk.mayUnmap ? ', may unmap' : ''}`],
    ['secure erase', rangeText(disk.secureErase)],
  ]
  if (topology) {
    const { physicalBlockSize, alignmentOffset, minIoSize, optIoSize } = topology
    const shape = [`physical blocks of ${physicalBlockSize}, the first at ${alignmentOffset}`]
    if (minIoSize > 0) shape.push(`requests of at least ${formatSize(minIoSize)}`)
    if (optIoSize > 0) shape.push(`best ${formatSize(optIoSize)}`)
    rows.push(['topology', shape.join(', ')])
  }
  if (zoned) rows.push(['zones', `${zoned.model}, of ${formatSize(zoned.zoneSize)}`])
  rows.push(
    ['transport', `${disk.transport} at ${disk.location}, ${disk.interrupts}, ${disk.vectors} vectors`],
    ['queues', disk.queues.map(({ name, size }) => `${name} (${size})`).join(', ')],
    ['features', disk.features.join(' ')],
  )
  return renderTable(rows)
}

function rangeText(limits: RangeLimits | undefined): string {
  if (limits === undefined) return 'no'
  const { maxSectors, maxSegments } = limits
  const most = maxSectors === ANY ? 'any length' : `up to ${formatSize(maxSectors * SECTOR)}`
  return `${most}, ${maxSegments} ${maxSegments === 1 ? 'range' : 'ranges'} in a request`
}
