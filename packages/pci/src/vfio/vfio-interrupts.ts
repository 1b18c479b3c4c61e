import { close, eventfd, SystemError, watchReadable } from '@virtio-ts/native'
import { EventVector } from '../event-vector.ts'
import { LevelVector } from '../level-vector.ts'
import { type InterruptVector, PciError } from '../pci-function.ts'
import { VfioIrq } from './vfio-abi.ts'
import type { VfioDevice } from './vfio-device.ts'

const COUNTER_LENGTH = 8

/** The interrupts of one function. VFIO has one kind on at a time: what is asked for last switches the other off. */
export class VfioInterrupts {
  /** MSI-X vectors of the function. */
  readonly msixVectors: number
  readonly #device: VfioDevice
  readonly #hasLine: boolean
  #vectors: EventVector[] = []
  #line: { readonly vector: LevelVector; readonly fd: number } | undefined
  #notices: (() => void)[] = []

  /** @param msixVectors as the MSI-X capability has them */
  constructor(device: VfioDevice, msixVectors: number) {
    this.#device = device
    this.msixVectors = Math.min(msixVectors, device.irqCount(VfioIrq.MSIX))
    this.#hasLine = device.irqCount(VfioIrq.INTX) > 0
  }

  /** @throws PciError `pci.msix-unavailable` */
  enableMsix(count: number): readonly InterruptVector[] {
    if (!Number.isInteger(count) || count < 1 || count > this.msixVectors)
      throw this.#unavailable(count, `1 to ${this.msixVectors} are possible`)
    this.release()
    const vectors = Array.from({ length: count }, () => EventVector.create())
    try {
      const fewer = this.#device.signal(
        VfioIrq.MSIX,
        vectors.map(({ fd }) => fd),
      )
      if (fewer > 0) throw this.#unavailable(count, `this machine has room for ${fewer} now`)
    } catch (error) {
      for (const vector of vectors) vector.close()
      if (!(error instanceof SystemError)) throw error
      throw this.#unavailable(count, error.message, error)
    }
    this.#vectors = vectors
    return [...vectors]
  }

  disableMsix(): void {
    const vectors = this.#vectors
    if (vectors.length === 0) return
    this.#vectors = []
    for (const vector of vectors) vector.close()
    this.#device.silence(VfioIrq.MSIX)
  }

  intx(): InterruptVector | undefined {
    if (!this.#hasLine) return undefined
    if (this.#line === undefined) {
      this.disableMsix()
      const fd = eventfd()
      try {
        this.#device.signal(VfioIrq.INTX, [fd])
      } catch (error) {
        close(fd)
        throw error
      }
      const rearm = (): void => this.#device.unmask(VfioIrq.INTX)
      this.#line = { fd, vector: new LevelVector({ fd, readLength: COUNTER_LENGTH, rearm }) }
    }
    return this.#line.vector
  }

  /** Calls `listener` when the kernel signals an interrupt of a kind that says something of the function itself. */
  notice(index: number, listener: () => void): void {
    if (this.#device.irqCount(index) === 0) return
    const fd = eventfd()
    try {
      this.#device.signal(index, [fd])
      // It must not keep a process alive that has nothing else to do.
      const stop = watchReadable(
        fd,
        () => {
          stop()
          listener()
        },
        { keepAlive: false },
      )
      this.#notices.push(() => {
        stop()
        close(fd)
      })
    } catch (error) {
      close(fd)
      throw error
    }
  }

  /** Switches MSI-X and INTx off. */
  release(): void {
    this.disableMsix()
    const line = this.#line
    if (line === undefined) return
    this.#line = undefined
    line.vector.close()
    close(line.fd)
    this.#device.silence(VfioIrq.INTX)
  }

  /** Also the notices; closing the device's descriptor takes their eventfds from the kernel. */
  close(): void {
    for (const stop of this.#notices.splice(0)) stop()
    this.release()
  }

  #unavailable(count: number, why: string, cause?: Error): PciError {
    return new PciError(
      'pci.msix-unavailable',
      `${this.#device.address} cannot have ${count} MSI-X vectors: ${why}; INTx, or polling, may do instead`,
      { cause },
    )
  }
}
