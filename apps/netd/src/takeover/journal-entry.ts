import { type InterfaceState, interfaceState } from './interface-state.ts'
import { PlainFields } from './plain-fields.ts'

/** Drivers a function is given to: VFIO's, the UIO driver for interrupts without an IOMMU, or none at all. */
export const targetDrivers = ['vfio-pci', 'uio_pci_generic', 'none'] as const
export type TargetDriver = (typeof targetDrivers)[number]

export function isTargetDriver(text: string): text is TargetDriver {
  return (targetDrivers as readonly string[]).includes(text)
}

/** A function that was taken from its driver, and what has to be as before when it goes back. */
export interface JournalEntry {
  readonly version: 1
  /** `0000:00:04.0` */
  readonly address: string
  /** Milliseconds since 1970. */
  readonly time: number
  /** The driver it goes back to; null for none. */
  readonly driver: string | null
  /** The driver_override it had; null for none. */
  readonly override: string | null
  readonly boundTo: TargetDriver
  /** `bind`: somebody wanted it so until `netd release`. `run`: it goes back when that netd ends. */
  readonly by: 'bind' | 'run'
  readonly interfaces: readonly InterfaceState[]
}

const driverName = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/

/** @param address what the file is called after. @throws FieldError for anything but an entry of this version for this function */
export function journalEntry(value: unknown, address: string): JournalEntry {
  const fields = new PlainFields(value, 'the entry')
  if (fields.integer('version', 0, 0xffff) !== 1) throw fields.wrong('version')
  if (fields.text('address', /^[0-9a-f:.]+$/) !== address) throw fields.wrong('address')
  const boundTo = fields.text('boundTo', driverName)
  const by = fields.text('by', /^(bind|run)$/)
  if (!isTargetDriver(boundTo)) throw fields.wrong('boundTo')
  const entry: JournalEntry = {
    version: 1,
    address,
    time: fields.integer('time', 0, Number.MAX_SAFE_INTEGER),
    driver: fields.textOrNull('driver', driverName),
    override: fields.textOrNull('override', driverName),
    boundTo,
    by: by === 'bind' ? 'bind' : 'run',
    interfaces: fields.list('interfaces', interfaceState),
  }
  fields.finish()
  return entry
}
