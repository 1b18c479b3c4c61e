import type { PciFunction } from '@virtio-ts/pci'
import type { QemuBenchOptions } from '@virtio-ts/qemu'
import type { DeviceTypeId } from '@virtio-ts/spec'
import type { VhostUserOptions } from '@virtio-ts/transport-vhost-user'
import type { LocatorOptions } from './locator-options.ts'
import type { PciLocator, QemuLocator } from './locator.ts'

/** How a bench is to be started for a locator, and which of its functions is the device. */
export interface BenchPlan {
  readonly options: QemuBenchOptions
  /** The `id` of the device. */
  readonly functionId: string
}

/** A function of this machine that the kernel's own driver does not have. */
export interface TakenFunction {
  /**
   * Undoes what taking it did; whoever has it open has closed it before. Idempotent.
   * @param gone the function was unplugged, or somebody else took it away: there is nothing to be undone on it
   */
  giveBack(gone?: boolean): Promise<void>
}

/** What a program does about a PCI function of this machine before and after it drives it. */
export interface HostFunctionUser {
  /** Takes it from the kernel's driver, or finds it bound already. */
  readonly take: (locator: PciLocator, signal: AbortSignal) => Promise<TakenFunction>
  /** One that was unplugged is waited for. @defaultValue false */
  readonly wait?: boolean
  /** Told what is dangerous about the way it is reached. */
  readonly onWarning?: (message: string) => void
}

/** What a program knows of the kind of device it drives: how each scheme comes to one. */
export interface DeviceKind {
  /** What it is called behind `model:`, e.g. `net`. */
  readonly name: string
  /** What a back-end behind a vhost-user socket is taken for: the protocol does not tell. */
  readonly deviceType: DeviceTypeId
  /** Makes a software device. @throws CommandError `locator.option` */
  readonly model: (options: LocatorOptions) => Promise<PciFunction>
  /** @throws CommandError `locator.option` for a locator that makes no such device */
  readonly bench: (locator: QemuLocator) => BenchPlan
  /** What the front-end decides where a vhost-user back-end leaves it to it. */
  readonly vhostUser?: Omit<VhostUserOptions, 'path' | 'server' | 'deviceType'>
  /** How functions of this machine are taken: `alreadyBound` leaves that to the user. Where it is missing none is opened. */
  readonly hostFunction?: HostFunctionUser
  /** Locators to show where another one cannot be opened. */
  readonly examples: readonly string[]
}
