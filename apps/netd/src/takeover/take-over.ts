import { setTimeout as sleep } from 'node:timers/promises'
import { CommandError, codeOf } from '@virtio-ts/command-line'
import { formatAddress, parseAddress } from '@virtio-ts/pci'
import { bindDriver, currentDriver, driverOverride, restoreDriver } from '@virtio-ts/pci/binding'
import type { VirtioFunction } from '../devices/virtio-function.ts'
import { restoreEntry } from './give-back.ts'
import { readInterface } from './interface-state.ts'
import type { JournalEntry, TargetDriver } from './journal-entry.ts'
import {
  requireExpendable,
  requireGroup,
  requireNetworkFunction,
  requirePermission,
  mayChange,
  requireUnused,
} from './requirements.ts'
import { type TakeoverHost, thisHost } from './takeover-host.ts'

export interface TakeOverOptions {
  /** `vfio-pci` when left out; `none` takes the function from its driver and gives it to nobody. */
  readonly driver?: TargetDriver
  /** Also when a default route goes over it, or other interfaces stand on it. */
  readonly force?: boolean
  /** `run` when left out: `giveBack` restores it. `bind`: it stays so until it is released. */
  readonly by?: JournalEntry['by']
  /** What others are told who want it too: `netd run vfio:0000:00:04.0`. */
  readonly purpose?: string
  readonly signal?: AbortSignal
}

/** A function that the kernel's own driver does not have any more. Nobody else takes or releases it meanwhile. */
export interface Taken {
  readonly address: string
  readonly driver: TargetDriver
  /** What it goes back to; undefined where netd did not take it: it was bound so already. */
  readonly entry: JournalEntry | undefined
  /**
   * Gives it back: to the driver it came from, with its interfaces, addresses and routes, where it was taken by `run`; one that was taken by `netd
   * bind`, or by somebody else, stays as it is. Whoever has the device open closes it first. Idempotent.
   * @param gone it was unplugged: its entry goes once the kernel knows it no more. One that was taken away otherwise keeps it.
   * @throws CommandError `takeover.incomplete`, `takeover.in-use`; BindingError
   */
  giveBack(gone?: boolean): Promise<void>
}

/**
 * Takes a virtio network function from the kernel's driver. What has to be restored is in the journal before anything is changed; a
 * crashed netd's entry is taken on. On failure what was begun is undone.
 * @param address `0000:00:04.0` or `00:04.0`
 * @throws CommandError `takeover.*`, BindingError, PciError `pci.address`, the signal's reason
 */
export async function takeOver(
  address: string,
  options: TakeOverOptions = {},
  host: TakeoverHost = thisHost(),
): Promise<Taken> {
  const { driver = 'vfio-pci', by = 'run', force = false, signal } = options
  const name = formatAddress(parseAddress(address))
  const first = requireNetworkFunction(name, host)
  // Bound for this user by somebody who may do it: nothing has to be changed. VFIO lets only one have it.
  if (driver === 'vfio-pci' && first.driver === driver && !mayChange(name, host))
    return taken(name, driver, undefined, host, () => {})
  requirePermission(name, host)
  host.journal.prepare()
  const unlock = lockFunction(name, options.purpose ?? `netd ${by}`, host)
  try {
    requireUnused(name, host)
    const earlier = await unfinishedEntry(first, host)
    const found = requireNetworkFunction(name, host)
    // Somebody else's doing, driverctl's for instance: used as it is, and left as it is.
    if (earlier === undefined && (found.driver ?? 'none') === driver) {
      return taken(name, driver, undefined, host, unlock)
    }
    requireGroup(name, driver, host)
    if (!force) requireExpendable(found, host)
    signal?.throwIfAborted()
    const entry: JournalEntry =
      earlier === undefined
        ? await describe(found, driver, by, host)
        : // What `netd bind` took stays so, whoever uses it meanwhile.
          { ...earlier, boundTo: driver, by: earlier.by === 'bind' ? 'bind' : by }
    host.journal.write(entry)
    try {
      await give(name, driver, host, signal)
    } catch (error) {
      if (earlier === undefined) await undo(entry, host)
      throw error
    }
    return taken(name, driver, entry, host, unlock)
  } catch (error) {
    unlock()
    throw error
  }
}

/** @throws CommandError `takeover.in-use` */
export function lockFunction(address: string, purpose: string, host: TakeoverHost): () => void {
  const unlock = host.lock(address, purpose)
  if (typeof unlock === 'function') return unlock
  throw new CommandError('takeover.in-use', `${address} is in use by ${unlock}`, {
    why: 'a running netd has it',
    fix: 'netd show; end that netd first, it gives the device back by itself',
  })
}

/**
 * The entry of a netd that took it and ended without giving it back, to be taken on. Where the function has its driver again, taking or
 * giving back broke off: what is left of that is done first, so that everything is there to be recorded.
 */
async function unfinishedEntry(
  { address, driver }: VirtioFunction,
  host: TakeoverHost,
): Promise<JournalEntry | undefined> {
  const entry = host.journal.read(address)
  if (entry === undefined || entry.driver === null || driver !== entry.driver) return entry
  try {
    await restoreEntry(entry, host)
    return undefined
  } catch (error) {
    if (codeOf(error) === 'takeover.incomplete') return entry
    throw error
  }
}

async function describe(
  found: VirtioFunction,
  driver: TargetDriver,
  by: JournalEntry['by'],
  host: TakeoverHost,
): Promise<JournalEntry> {
  const interfaces = []
  for (const { name } of found.interfaces) interfaces.push(await readInterface(host.ip, name))
  return {
    version: 1,
    address: found.address,
    time: host.now(),
    driver: found.driver,
    override: driverOverride(found.address, host.sysfs) ?? null,
    boundTo: driver,
    by,
    interfaces,
  }
}

const pause = 20

/** Modules whose drivers VFIO needs: the second maps memory. */
const modules: Readonly<Record<TargetDriver, readonly string[]>> = {
  'vfio-pci': ['vfio-pci', 'vfio_iommu_type1'],
  uio_pci_generic: ['uio_pci_generic'],
  none: [],
}

async function give(
  address: string,
  driver: TargetDriver,
  host: TakeoverHost,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const module of modules[driver]) {
    const isLoaded = host.sysfs.exists(`bus/pci/drivers/${module}`) || host.sysfs.exists(`module/${module}`)
    if (!isLoaded) await host.loadModule(module)
  }
  const options = { sysfs: host.sysfs, timeout: host.timeout, ...(signal === undefined ? {} : { signal }) }
  // An override nobody answers to keeps the bus from giving it to any driver.
  if (driver === 'none') await restoreDriver(address, { driver: undefined, override: 'none' }, options)
  else await bindDriver(address, driver, options)
}

/** The failure is what counts, and is what is thrown; where going back fails too, the journal has the rest. */
async function undo(entry: JournalEntry, host: TakeoverHost): Promise<void> {
  try {
    await restoreEntry(entry, host)
  } catch {
    // `netd release` tells why.
  }
}

function taken(
  address: string,
  driver: TargetDriver,
  entry: JournalEntry | undefined,
  host: TakeoverHost,
  unlock: () => void,
): Taken {
  let givingBack: Promise<void> | undefined
  const giveBack = async (gone: boolean): Promise<void> => {
    try {
      if (entry?.by === 'run') await (gone ? forget(address, host) : restoreEntry(entry, host))
    } finally {
      unlock()
    }
  }
  return {
    address,
    driver,
    entry,
    giveBack: (gone = false) => {
      givingBack ??= giveBack(gone)
      return givingBack
    },
  }
}

/** The kernel takes a function out once nobody has it open. Its addresses went with it, as with any interface that is unplugged. */
async function forget(address: string, { sysfs, journal, removalTime }: TakeoverHost): Promise<void> {
  const directory = `bus/pci/devices/${address}`
  for (let waited = 0; waited < removalTime && sysfs.exists(directory); waited += pause) await sleep(pause)
  if (!sysfs.exists(directory)) journal.remove(address)
}

/** What `netd release` found and did. */
export interface Released {
  readonly address: string
  /** The driver that has it now. */
  readonly driver: string | undefined
  /** What was given back; undefined where there was nothing to do. */
  readonly entry: JournalEntry | undefined
}

/**
 * Gives a function back that nobody holds: after `netd bind`, or after a netd that crashed.
 * @throws CommandError `takeover.not-taken` when netd did not take it and the kernel has not got it either, `takeover.in-use`,
 *   `takeover.incomplete`, `takeover.journal`, `takeover.permission`; BindingError, PciError `pci.address`
 */
export async function release(address: string, host: TakeoverHost = thisHost()): Promise<Released> {
  const name = formatAddress(parseAddress(address))
  const driver = currentDriver(name, host.sysfs)
  const known = host.journal.read(name)
  if (known === undefined) {
    requireNetworkFunction(name, host)
    if (driver !== undefined && driver !== 'vfio-pci' && driver !== 'uio_pci_generic')
      return { address: name, driver, entry: undefined }
    throw new CommandError('takeover.not-taken', `netd did not take ${name}: what it was before is not known`, {
      why:
        driver === undefined
          ? 'no driver has it, and there is no entry in the journal'
          : `${driver} has it, and there is no entry in the journal`,
      fix: `driverctl unset-override ${name}, or whatever bound it`,
    })
  }
  requirePermission(name, host)
  const unlock = lockFunction(name, 'netd release', host)
  try {
    // Read again now that nobody else writes it.
    const entry = host.journal.read(name)
    if (entry !== undefined) await restoreEntry(entry, host)
    return { address: name, driver: currentDriver(name, host.sysfs), entry }
  } finally {
    unlock()
  }
}
