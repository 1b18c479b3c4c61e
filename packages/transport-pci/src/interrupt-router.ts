import type { InterruptMode } from '@virtio-ts/core'
import type { InterruptVector, PciFunction } from '@virtio-ts/pci'
import { VirtioError, VirtioPci } from '@virtio-ts/spec'
import type { RegisterSet } from './register-set.ts'

type Listener = () => void

const CONFIG_VECTOR = 0

/**
 * Leads a function's interrupts to the listeners of queues and configuration. With MSI-X the vector says whose interrupt it is;
 * with INTx the ISR status does, which is read once per interrupt and never otherwise.
 * @see VIRTIO 1.3 § 4.1.5.5 "Driver Handling Interrupts"
 */
export class InterruptRouter {
  readonly #fn: PciFunction
  readonly #registers: RegisterSet
  readonly #onFailure: (error: unknown) => void
  readonly #used = new Map<number, Listener>()
  #config: Listener | undefined
  #stops: (() => void)[] = []
  #mode: InterruptMode = 'none'
  /** Vectors in use with MSI-X: the first for configuration changes, queues on the others, or all on a single one. */
  #vectors = 0
  /** By vector: the queues that were bound to it. */
  #queuesOf: Set<number>[] = []
  #live = false
  #configPending = false

  /** @param onFailure told of what a bus threw during an interrupt */
  constructor(fn: PciFunction, registers: RegisterSet, onFailure: (error: unknown) => void) {
    this.#fn = fn
    this.#registers = registers
    this.#onFailure = onFailure
  }

  /**
   * Sets up what was wanted, or the next best: MSI-X with a vector for each queue, with fewer vectors shared, INTx, nothing.
   * @see VIRTIO 1.3 § 4.1.5.1.2.2 "Driver Requirements: MSI-X Vector Configuration"
   */
  setUp(queues: number, wanted: 'auto' | InterruptMode): { readonly mode: InterruptMode; readonly vectors: number } {
    this.release()
    if (wanted === 'auto' || wanted === 'msix') this.#setUpMsix(queues)
    if (this.#mode === 'none' && wanted !== 'none') this.#setUpIntx()
    return { mode: this.#mode, vectors: this.#vectors }
  }

  /**
   * Binds a queue that is about to be enabled. With MSI-X only, and after `setUp`.
   * @throws VirtioError `transport.vector-refused` when the device takes no vector for it
   */
  bindQueue(index: number): void {
    if (this.#mode !== 'msix') return
    const own = this.#vectorOf(index, this.#vectors)
    const vector = [own, CONFIG_VECTOR].find(
      (candidate) => this.#registers.bindQueueVector(index, candidate) === candidate,
    )
    if (vector === undefined) {
      throw new VirtioError(
        'transport.vector-refused',
        `${this.#fn.address}: the device takes no MSI-X vector for queue ${index}; use interrupts: 'intx' or 'none'`,
        { device: this.#fn.address, queue: index },
      )
    }
    for (const queues of this.#queuesOf) queues.delete(index)
    this.#queuesOf[vector]?.add(index)
  }

  /** One listener a queue; a later one takes its place. */
  onUsed(index: number, listener: Listener): void {
    this.#used.set(index, listener)
  }

  /** One listener; a later one takes its place. */
  onConfigChange(listener: Listener): void {
    this.#config = listener
  }

  /**
   * Lets interrupts through from DRIVER_OK to the next reset. A configuration change that came before is told then: nothing
   * else would tell it.
   */
  setLive(live: boolean): void {
    this.#live = live
    if (!live) this.#configPending = false
    else if (this.#configPending) queueMicrotask(() => this.#dispatchConfig())
  }

  /** Stops listening and switches MSI-X off. Idempotent; does not throw. */
  release(): void {
    for (const stop of this.#stops.splice(0)) stop()
    const wasMsix = this.#mode === 'msix'
    this.#mode = 'none'
    this.#vectors = 0
    this.#queuesOf = []
    if (wasMsix) this.#disableMsix()
  }

  #setUpMsix(queues: number): void {
    const most = Math.min(this.#fn.msixVectors, queues + 1)
    const counts = new Set([most, 2, 1].filter((count) => count >= 1 && count <= most))
    for (const count of counts) {
      const vectors = this.#tryMsix(count, queues)
      if (!vectors) continue
      this.#mode = 'msix'
      this.#vectors = count
      this.#queuesOf = vectors.map(() => new Set())
      this.#stops = vectors.map((vector, number) => vector.watch(() => this.#onVector(number)))
      return
    }
  }

  /** MSI-X goes on first: a legacy device has no vector registers before, and ignores them (QEMU) or worse. */
  #tryMsix(count: number, queues: number): readonly InterruptVector[] | undefined {
    try {
      const vectors = this.#fn.enableMsix(count)
      if (this.#takesVectors(count, queues)) return vectors
    } catch (error) {
      if (!isUnavailable(error)) throw error
    }
    this.#disableMsix()
    return undefined
  }

  #takesVectors(count: number, queues: number): boolean {
    if (this.#registers.bindConfigVector(CONFIG_VECTOR) !== CONFIG_VECTOR) return false
    for (let index = 0; index < queues; index++) {
      if (this.#registers.queueSize(index) === 0) continue
      const vector = this.#vectorOf(index, count)
      if (this.#registers.bindQueueVector(index, vector) !== vector) {
        this.#registers.bindConfigVector(VirtioPci.NO_VECTOR)
        return false
      }
    }
    return true
  }

  #setUpIntx(): void {
    const line = this.#fn.intx()
    if (!line) return
    this.#mode = 'intx'
    this.#stops = [line.watch(() => this.#onIntx())]
  }

  #disableMsix(): void {
    try {
      this.#fn.disableMsix()
    } catch (error) {
      // Nothing is left to switch off on a function that is gone.
      this.#onFailure(error)
    }
  }

  #vectorOf(index: number, vectors: number): number {
    return vectors === 1 ? CONFIG_VECTOR : 1 + (index % (vectors - 1))
  }

  #onVector(vector: number): void {
    for (const index of this.#queuesOf[vector] ?? []) this.#dispatchUsed(index)
    // VIRTIO 1.3 § 4.1.5.4.2 "Driver Requirements: Notification of Device Configuration Changes": one vector may mean both.
    if (vector === CONFIG_VECTOR) this.#dispatchConfig()
  }

  #onIntx(): void {
    let isr: number
    try {
      isr = this.#registers.readIsr()
    } catch (error) {
      this.#onFailure(error)
      return
    }
    // QEMU and VirtualBox set both bits for a configuration change: the first is then only a hint.
    if (isr & VirtioPci.ISR_QUEUE) for (const index of this.#used.keys()) this.#dispatchUsed(index)
    if (isr & VirtioPci.ISR_CONFIG) this.#dispatchConfig()
  }

  #dispatchUsed(index: number): void {
    if (this.#live) this.#used.get(index)?.()
  }

  #dispatchConfig(): void {
    this.#configPending = !this.#live
    if (this.#live) this.#config?.()
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'pci.msix-unavailable'
}
