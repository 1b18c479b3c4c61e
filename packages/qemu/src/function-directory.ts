import type { PlacedFunction } from './pci-topology.ts'
import { IVSHMEM_ID } from './qemu-arguments.ts'
import { QemuError } from './qemu-error.ts'
import { type FunctionSurroundings, QemuFunction } from './qemu-function.ts'
import type { Qmp } from './qmp.ts'

/** What a rescan has found. */
export interface RescanResult {
  readonly added: readonly QemuFunction[]
  /** Gone: their `onGone` listeners have been told. */
  readonly removed: readonly QemuFunction[]
  /** Have been reset: their vectors are let go, and bus master is off. */
  readonly reset: readonly QemuFunction[]
}

/** A function on the bench, and the object that stands for it at present. */
export interface Entry {
  readonly placed: PlacedFunction
  readonly id: string
  fn: QemuFunction
}

/** The functions of a bench under the names of their devices. */
export class FunctionDirectory {
  readonly #surroundings: FunctionSurroundings
  readonly #order: string[]
  #entries: Entry[] = []
  /** The bench's own device, which is not given out. */
  #ivshmem: PlacedFunction | undefined

  /** @param ids of devices, in the order in which their functions are to be listed */
  constructor(surroundings: FunctionSurroundings, ids: readonly string[]) {
    this.#surroundings = surroundings
    this.#order = [...ids]
  }

  get entries(): readonly Entry[] {
    return this.#entries
  }

  get functions(): QemuFunction[] {
    return this.#entries.map((entry) => this.#open(entry))
  }

  /** @throws QemuError `qemu.no-function` */
  find(idOrIndex: string | number): QemuFunction {
    return this.#open(this.entry(idOrIndex))
  }

  /** @throws QemuError `qemu.no-function` */
  entry(idOrIndex: string | number): Entry {
    const entry =
      typeof idOrIndex === 'number'
        ? this.#entries[idOrIndex]
        : this.#entries.find(({ id, fn }) => id === idOrIndex || fn.address === idOrIndex)
    if (entry !== undefined) return entry
    const there = this.#entries.map(({ id, fn }, index) => `${index}: ${id} ${fn.address}`).join(', ')
    throw new QemuError('qemu.no-function', `there is no PCI function ${idOrIndex} here; there is ${there || 'none'}`)
  }

  /** Whether a device of this id has been listed, whether it has a function or not. */
  knows(id: string): boolean {
    return this.#order.includes(id)
  }

  /** Lists a device's function behind those there are. */
  append(id: string): void {
    this.#order.push(id)
  }

  /** Looks at all buses. @throws as `Qmp.execute` */
  async rescan(qmp: Qmp): Promise<RescanResult> {
    const { topology, qtest } = this.#surroundings
    const { removed, restored } = topology.scan()
    // Only now do the buses have the numbers that QEMU needs to list what is on them.
    const ids = new Map((await qmp.queryPci()).map((fn) => [(fn.bus << 8) | (fn.slot << 3) | fn.function, fn.qdev_id]))
    if (qtest.broken !== undefined) throw qtest.broken
    const gone = this.#entries.filter(({ placed }) => removed.includes(placed))
    for (const entry of gone) {
      this.remove(entry, new QemuError('qemu.no-function', `the function ${entry.fn.address} is no longer there`))
    }
    const reset = this.#entries.filter(({ placed }) => restored.includes(placed))
    for (const { fn } of reset) fn.markReset()
    const added: Entry[] = []
    for (const placed of topology.functions) {
      if (placed === this.#ivshmem || this.#entries.some((entry) => entry.placed === placed)) continue
      const id = ids.get(placed.number) ?? ''
      if (id === IVSHMEM_ID) this.#placeIvshmem(placed)
      else added.push({ placed, id, fn: new QemuFunction(this.#surroundings, placed, id) })
    }
    this.#entries.push(...added)
    this.#entries.sort((a, b) => this.#rank(a) - this.#rank(b) || a.placed.number - b.placed.number)
    const functions = (entries: readonly Entry[]): QemuFunction[] => entries.map(({ fn }) => fn)
    return { added: functions(added), removed: functions(gone), reset: functions(reset) }
  }

  /** Takes a function off the bench, and tells its listeners. */
  remove(entry: Entry, reason: Error): void {
    this.#entries = this.#entries.filter((other) => other !== entry)
    const index = this.#order.indexOf(entry.id)
    if (index >= 0) this.#order.splice(index, 1)
    this.#surroundings.topology.forget(entry.placed)
    entry.fn.markGone(reason)
  }

  removeAll(reason: Error): void {
    for (const entry of [...this.#entries]) this.remove(entry, reason)
  }

  #open(entry: Entry): QemuFunction {
    if (entry.fn.closed) entry.fn = new QemuFunction(this.#surroundings, entry.placed, entry.id)
    return entry.fn
  }

  #placeIvshmem(placed: PlacedFunction): void {
    this.#ivshmem = placed
    this.#surroundings.vectors?.place(placed.bars.find(({ index }) => index === 0)?.address ?? 0)
  }

  #rank({ id }: Entry): number {
    const index = this.#order.indexOf(id)
    return index < 0 ? this.#order.length : index
  }
}
