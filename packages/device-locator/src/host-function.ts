import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf } from '@virtio-ts/command-line'
import type { PciFunction } from '@virtio-ts/pci'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import type { Transport } from '@virtio-ts/core'
import type { HostFunctionUser, TakenFunction } from './device-kind.ts'
import type { DeviceIdentity } from './device-identity.ts'
import { type PciLocator } from './locator.ts'
import type { AttachOptions, OpenedDevice } from './opened-device.ts'

/** How often somebody looks whether a function that was unplugged is there again, in milliseconds. */
const lookAgainAfter = 250

/** What reaches a function of this machine: `openVfio` or `openSysfs`, with this program's options. */
export type FunctionOpener = (address: string) => Promise<PciFunction>

interface Held {
  readonly taken: TakenFunction
  readonly fn: PciFunction
}

/**
 * A PCI function of this machine, from taking it to giving it back. One that is unplugged is let go of at once, as the kernel waits for
 * that; where the program waits for it, the one plugged in later at the same address is taken in its place.
 */
export class HostFunction implements OpenedDevice {
  readonly identity: DeviceIdentity
  readonly reconnects: boolean
  /** Notifications are plain stores, but the function's mappings belong to this thread. */
  readonly handsOverQueues = false
  readonly #locator: PciLocator
  readonly #user: HostFunctionUser
  readonly #open: FunctionOpener
  #held: Held | undefined

  private constructor(locator: PciLocator, user: HostFunctionUser, open: FunctionOpener, held: Held) {
    const { fn } = held
    this.#locator = locator
    this.#user = user
    this.#open = open
    this.#held = held
    this.reconnects = user.wait ?? false
    this.identity = {
      function: { bus: fn.bus, address: fn.address, vendor: fn.configRead16(0), device: fn.configRead16(2) },
    }
  }

  /** @throws PciError, and what taking the function throws; nothing is held then */
  static async open(
    locator: PciLocator,
    user: HostFunctionUser,
    open: FunctionOpener,
    signal: AbortSignal,
  ): Promise<HostFunction> {
    return new HostFunction(locator, user, open, await hold(locator, user, open, signal))
  }

  async attach({ wait, signal }: AttachOptions): Promise<Transport> {
    if (this.#held?.fn.gone) await this.release()
    const held = this.#held ?? (await this.#holdAgain(wait, signal))
    return VirtioPciDriver.attach(held.fn)
  }

  /** Closes the function, then gives it back. Idempotent. */
  async release(): Promise<void> {
    const held = this.#held
    this.#held = undefined
    if (held === undefined) return
    const { gone } = held.fn
    try {
      await held.fn.close()
    } finally {
      await held.taken.giveBack(gone)
    }
  }

  async #holdAgain(wait: boolean, signal: AbortSignal): Promise<Held> {
    for (;;) {
      try {
        this.#held = await hold(this.#locator, this.#user, this.#open, signal)
        return this.#held
      } catch (error) {
        if (!wait || !isAbsent(error)) throw error
      }
      await sleep(lookAgainAfter, undefined, { signal })
    }
  }
}

async function hold(
  locator: PciLocator,
  user: HostFunctionUser,
  open: FunctionOpener,
  signal: AbortSignal,
): Promise<Held> {
  const taken = await user.take(locator, signal)
  try {
    signal.throwIfAborted()
    return { taken, fn: await open(locator.address) }
  } catch (error) {
    await taken.giveBack()
    throw error
  }
}

function isAbsent(error: unknown): boolean {
  return ['pci.not-found', 'binding.no-function'].includes(codeOf(error) ?? '')
}

/** The opener for a locator; what it needs is loaded only now. */
export async function functionOpener(
  locator: PciLocator,
  onWarning: (message: string) => void,
): Promise<FunctionOpener> {
  if (locator.scheme === 'vfio') {
    const { openVfio } = await import('@virtio-ts/pci/vfio')
    return (address) => openVfio(address)
  }
  const { openSysfs } = await import('@virtio-ts/pci/sysfs')
  return (address) => openSysfs(address, { onWarning })
}
