import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf } from '@virtio-ts/command-line'
import type { HostFunctionUser, PciLocator } from '@virtio-ts/device-locator'
import { currentDriver } from '@virtio-ts/pci/binding'
import type { TargetDriver } from '../takeover/journal-entry.ts'
import { type Taken, takeOver } from '../takeover/take-over.ts'
import { type TakeoverHost, thisHost } from '../takeover/takeover-host.ts'

/** What a user says about the taking of PCI functions, as plain data. */
export interface TakeoverWishes {
  /** Also one that a default route of this machine goes over. */
  readonly force?: boolean
  /** One that was unplugged is waited for. */
  readonly wait?: boolean
  /** Interrupts are not wanted. */
  readonly poll?: boolean
}

/** How long the kernel gets to bind its own driver to a function that was just plugged in, in milliseconds. */
const bindingTime = 1000
const pause = 50

/** Takes functions of this machine from the kernel, and gives them back with all they had. */
export function hostFunctionUser(
  wishes: TakeoverWishes,
  onWarning: (message: string) => void,
  host: TakeoverHost = thisHost(),
): HostFunctionUser {
  let isFirst = true
  let warned = false
  return {
    wait: wishes.wait ?? false,
    onWarning: (message) => {
      if (!warned) onWarning(message)
      warned = true
    },
    take: async (locator, signal) => {
      if (!isFirst) await waitForDriver(locator.address, host, signal)
      isFirst = false
      return locator.scheme === 'vfio'
        ? take(locator, 'vfio-pci', wishes, host, signal)
        : takeForSysfs(locator, wishes, host, signal)
    },
  }
}

/** `uio_pci_generic` brings interrupts; where it is missing, or they are not wanted, no driver at all has the function. */
async function takeForSysfs(
  locator: PciLocator,
  wishes: TakeoverWishes,
  host: TakeoverHost,
  signal: AbortSignal,
): Promise<Taken> {
  const bound = host.journal.read(locator.address)
  // Somebody has decided that with `netd bind`.
  const decided = bound?.by === 'bind' && bound.boundTo !== 'vfio-pci' ? bound.boundTo : undefined
  if (decided === undefined && !wishes.poll) {
    try {
      return await take(locator, 'uio_pci_generic', wishes, host, signal)
    } catch (error) {
      // The kernel has no such driver, or it does not take this function: one without an interrupt line.
      if (!['binding.no-driver', 'binding.timeout', 'binding.refused'].includes(codeOf(error) ?? '')) throw error
    }
  }
  return take(locator, decided ?? 'none', wishes, host, signal)
}

function take(
  locator: PciLocator,
  driver: TargetDriver,
  { force = false }: TakeoverWishes,
  host: TakeoverHost,
  signal: AbortSignal,
): Promise<Taken> {
  const purpose = `netd, which drives ${locator.scheme}:${locator.address}`
  return takeOver(locator.address, { driver, force, by: 'run', purpose, signal }, host)
}

/** The kernel shows a function before it has bound a driver to it: taken in between, it would be taken away again. */
async function waitForDriver(address: string, { sysfs }: TakeoverHost, signal: AbortSignal): Promise<void> {
  if (!sysfs.exists(`bus/pci/devices/${address}`)) return
  for (let waited = 0; waited < bindingTime && currentDriver(address, sysfs) === undefined; waited += pause)
    await sleep(pause, undefined, { signal })
}
