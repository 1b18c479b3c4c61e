import type { DmaAllocator } from '@virtio-ts/memory'

/**
 * One base address register's registers, reached by method: the same driver then runs on mapped memory, on an I/O-port
 * BAR and over a wire. Offsets and lengths are in bytes; values are unsigned; multi-byte values are little-endian on
 * the bus and plain numbers here. An access beyond `length` throws `PciError` `pci.bar-bounds`; one to a function
 * that is gone throws `pci.gone` or reads as all-ones, as the bus does.
 */
export interface PciBar {
  readonly index: number
  readonly kind: 'memory' | 'io'
  readonly length: number
  read8(offset: number): number
  read16(offset: number): number
  read32(offset: number): number
  write8(offset: number, value: number): void
  write16(offset: number, value: number): void
  write32(offset: number, value: number): void
  /**
   * A write of 16 or 32 bits that tells the device about available buffers. It may be posted: it returns before the
   * device has seen it, but arrives after every earlier write.
   */
  notify(offset: number, value: number, width: 16 | 32): void
}

/** An interrupt as a file descriptor: readable when the interrupt has fired. */
export interface InterruptVector {
  readonly fd: number
  /** Takes what has been signalled; true if anything was. Never blocks. */
  drain(): boolean
  /**
   * Calls `listener` on the event loop whenever the interrupt has fired, after draining it; bursts coalesce. One
   * listener a vector. Keeps the process alive until the returned function is called.
   */
  watch(listener: () => void): () => void
}

/**
 * What the addresses mean that a device is given: `bus` addresses go through the platform's IOMMU where it has one, `physical`
 * ones go past it. Which of them a device takes, it says itself (virtio: ACCESS_PLATFORM); with the wrong kind it reads and
 * writes memory that is somebody else's.
 */
export type DmaAddressSpace = 'bus' | 'physical'

/** A PCI function that a user-space driver owns. Whoever opened it closes it. */
export interface PciFunction {
  /** `domain:bus:device.function`, e.g. `0000:00:04.0`. */
  readonly address: string
  /** What carries it: `qemu`, `model`, `vfio`, `sysfs`. */
  readonly bus: string
  configRead8(offset: number): number
  configRead16(offset: number): number
  configRead32(offset: number): number
  configWrite8(offset: number, value: number): void
  configWrite16(offset: number, value: number): void
  configWrite32(offset: number, value: number): void
  /** @throws PciError `pci.no-bar` when the function has no BAR of this index (0 to 5), or it is not usable here */
  bar(index: number): PciBar
  /**
   * Number of MSI-X vectors the function has, as its MSI-X capability says, and this bus can deliver; 0 when there is none.
   */
  readonly msixVectors: number
  /**
   * Routes vectors 0 to `count` - 1 and sets the MSI-X enable bit.
   * @throws PciError `pci.msix-unavailable` when `count` is larger than `msixVectors`
   */
  enableMsix(count: number): readonly InterruptVector[]
  /** Clears the MSI-X enable bit and lets the vectors go. */
  disableMsix(): void
  /**
   * The function's INTx line, level-triggered, or undefined when it has none here. After the line has fired, the
   * transport must make the device lower it (for virtio: read the ISR status).
   */
  intx(): InterruptVector | undefined
  /**
   * Memory that the function can reach by DMA. On a bus with `setAddressSpace` there is none before it was called, unless the
   * function was opened for one address space: reading it throws `PciError` `pci.address-space`.
   */
  readonly dma: DmaAllocator
  /**
   * Says which addresses the device takes, once its transport knows, and provides `dma` to match. The same again changes
   * nothing. Missing on a bus where both are one: no IOMMU is between its devices and memory.
   * @throws PciError `pci.address-space` when the function was opened for the other one, this bus cannot provide it, or regions
   * of the other one are out; what providing the memory throws: `pci.memory-locked`, `pci.iova-reserved`, `pci.dma-map`, DmaError
   */
  setAddressSpace?(space: DmaAddressSpace): void
  /** Sets the bus-master bit: without it the function can neither reach memory nor signal. */
  setBusMaster(enabled: boolean): void
  /** True once the function is known to be gone (unplugged, its bus ended). */
  readonly gone: boolean
  /** Calls `listener` once when the function goes away; at once if it has. Returns a function that takes the listener off. */
  onGone(listener: (reason: Error) => void): () => void
  /** Resets the function (FLR) where the bus offers it. @throws PciError `pci.no-reset` otherwise */
  reset(): Promise<void>
  /** Lets the function go: interrupts off, bus master off, descriptors closed. Idempotent. */
  close(): Promise<void>
}

export type PciErrorCode =
  | 'pci.no-bar'
  | 'pci.bar-bounds'
  | 'pci.bar-too-small'
  | 'pci.cap-loop'
  | 'pci.cap-bounds'
  | 'pci.msix-unavailable'
  | 'pci.no-reset'
  | 'pci.gone'
  | 'pci.access'
  | 'pci.address'
  | 'pci.not-found'
  | 'pci.not-bound'
  | 'pci.driver-bound'
  | 'pci.no-iommu-group'
  | 'pci.group-not-viable'
  | 'pci.no-vfio'
  | 'pci.permission'
  | 'pci.in-use'
  | 'pci.address-space'
  | 'pci.memory-locked'
  | 'pci.iova-reserved'
  | 'pci.dma-map'

export class PciError extends Error {
  readonly code: PciErrorCode
  constructor(code: PciErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'PciError'
    this.code = code
  }
}
