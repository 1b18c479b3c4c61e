/**
 * Which kernel driver has a PCI function, who shares its IOMMU group, and how another driver gets it: what driverctl(8) and
 * dpdk-devbind do, through the same files of sysfs. Linux only; changing anything takes root.
 * @packageDocumentation
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { BindingError } from './binding-error.ts'
import { formatAddress, parseAddress } from './pci-address.ts'
import { type SysfsFiles, sysfsFiles } from './sysfs-files.ts'

export { BindingError, type BindingErrorCode } from './binding-error.ts'
export { type IommuGroup, type IommuGroupMember, iommuGroup, iommuGroupBlockers } from './iommu-group.ts'
export { type SysfsFiles, sysfsFiles } from './sysfs-files.ts'

export interface BindingOptions {
  readonly sysfs?: SysfsFiles
  /** Gives up between two steps; what has been done stays. */
  readonly signal?: AbortSignal
  /** How long each step may take, in milliseconds; 5000 when left out. */
  readonly timeout?: number
}

const defaultTimeout = 5000
/** Pause between two looks at what the kernel has done, in milliseconds. */
const pause = 20

function pathOf(address: string): string {
  return `bus/pci/devices/${formatAddress(parseAddress(address))}`
}

/** The kernel driver that has the function, e.g. `virtio-pci`; undefined when none has. @throws PciError `pci.address` */
export function currentDriver(address: string, sysfs: SysfsFiles = sysfsFiles()): string | undefined {
  return sysfs.linkName(`${pathOf(address)}/driver`)
}

/** The only driver the function may be bound to, or undefined when any that knows it may. @throws PciError `pci.address` */
export function driverOverride(address: string, sysfs: SysfsFiles = sysfsFiles()): string | undefined {
  const text = sysfs.readText(`${pathOf(address)}/driver_override`)
  return text === '' || text === '(null)' ? undefined : text
}

/**
 * Gives the function to `driver`, and to no other one from now on (driver_override), whichever has it now. Does nothing that is done
 * already, so after a failure or a crash in the middle it can be called again, or `restoreDriver` to go back.
 * @throws BindingError, PciError `pci.address`, the signal's reason
 */
export async function bindDriver(address: string, driver: string, options: BindingOptions = {}): Promise<void> {
  const step = steps(address, options)
  step.requireFunction()
  requireDriver(driver, step.sysfs)
  await step.override(driver)
  if (step.driver() === driver) return
  await step.unbind()
  await step.probe(driver)
}

export interface FormerBinding {
  /** The driver to go back to; undefined when none had it. */
  readonly driver: string | undefined
  /** The driver_override of then; undefined when there was none. */
  readonly override?: string | undefined
}

/**
 * The way back: `bindDriver` undone. Idempotent like it.
 * @throws BindingError, PciError `pci.address`, the signal's reason
 */
export async function restoreDriver(
  address: string,
  former: FormerBinding,
  options: BindingOptions = {},
): Promise<void> {
  const step = steps(address, options)
  step.requireFunction()
  if (former.driver !== undefined) requireDriver(former.driver, step.sysfs)
  // First: were this process to end between the steps, whoever probes the function next finds its own driver.
  await step.override(former.override)
  if (step.driver() === former.driver) return
  await step.unbind()
  if (former.driver !== undefined) await step.bind(former.driver)
}

/** @throws BindingError `binding.no-driver` */
function requireDriver(driver: string, sysfs: SysfsFiles): void {
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(driver))
    throw new BindingError('binding.no-driver', `${JSON.stringify(driver)} cannot be the name of a driver`)
  if (sysfs.exists(`bus/pci/drivers/${driver}`)) return
  throw new BindingError(
    'binding.no-driver',
    `the kernel has no PCI driver ${driver} now: load it with "modprobe ${driver}", or install the kernel's modules`,
  )
}

interface Steps {
  readonly sysfs: SysfsFiles
  requireFunction(): void
  driver(): string | undefined
  override(driver: string | undefined): Promise<void>
  unbind(): Promise<void>
  /** Lets the bus find the driver that the override names. */
  probe(driver: string): Promise<void>
  /** Asks this driver itself: others may know the function too. */
  bind(driver: string): Promise<void>
}

function steps(address: string, { sysfs = sysfsFiles(), signal, timeout = defaultTimeout }: BindingOptions): Steps {
  const directory = pathOf(address)
  const name = formatAddress(parseAddress(address))
  const driver = (): string | undefined => sysfs.linkName(`${directory}/driver`)

  const write = async (path: string, text: string, doing: string): Promise<void> => {
    signal?.throwIfAborted()
    const late = new AbortController()
    try {
      await Promise.race([
        sysfs.write(path, text),
        sleep(timeout, undefined, { signal: late.signal }).then(() => {
          throw new BindingError(
            'binding.timeout',
            `${doing} ${name} took longer than ${timeout} ms: something still uses it, and the kernel waits for that`,
          )
        }),
      ])
    } catch (error) {
      if (error instanceof BindingError) throw error
      throw new BindingError('binding.refused', `${doing} ${name} was refused: ${(error as Error).message}`, {
        cause: error,
      })
    } finally {
      late.abort()
    }
  }

  const until = async (wanted: string | undefined): Promise<void> => {
    for (let waited = 0; driver() !== wanted; waited += pause) {
      signal?.throwIfAborted()
      if (waited >= timeout) {
        throw new BindingError(
          'binding.timeout',
          `${name} is bound to ${driver() ?? 'no driver'} and not to ${wanted ?? 'none'} after ${timeout} ms: the kernel's log (dmesg) says why`,
        )
      }
      await sleep(pause)
    }
  }

  const unbind = async (): Promise<void> => {
    const bound = driver()
    if (bound === undefined) return
    await write(`bus/pci/drivers/${bound}/unbind`, name, `taking ${bound} off`)
    await until(undefined)
  }

  return {
    sysfs,
    requireFunction() {
      if (sysfs.exists(directory)) return
      throw new BindingError(
        'binding.no-function',
        `there is no PCI function ${name} on this machine: lspci -D lists them`,
      )
    },
    driver,
    async override(wanted) {
      if (driverOverride(address, sysfs) === wanted) return
      await write(`${directory}/driver_override`, `${wanted ?? ''}\n`, `setting the driver override of`)
    },
    unbind,
    async probe(wanted) {
      await write('bus/pci/drivers_probe', name, `probing ${wanted} for`)
      await until(wanted)
    },
    async bind(wanted) {
      await write(`bus/pci/drivers/${wanted}/bind`, name, `binding ${wanted} to`).catch((error: unknown) => {
        // Somebody probed it since the override went: the driver has what it was to get.
        if (driver() !== wanted) throw error
      })
      await until(wanted)
    },
  }
}
