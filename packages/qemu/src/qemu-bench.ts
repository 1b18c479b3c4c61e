import type { DmaAllocator } from '@virtio-ts/memory'
import { type DeviceOption, deviceOption, onBus } from './device-option.ts'
import type { FunctionConfig } from './function-config.ts'
import { FunctionDirectory, type RescanResult } from './function-directory.ts'
import { ejectFunction, powerSlotOn } from './hot-plug.ts'
import { InterruptLines } from './interrupt-lines.ts'
import { type LaunchedQemu, launch } from './launch.ts'
import { PciTopology } from './pci-topology.ts'
import { type Platform, platformOf } from './platform.ts'
import { deviceOptions } from './qemu-arguments.ts'
import type { QemuBenchOptions } from './qemu-bench-options.ts'
import { QemuError } from './qemu-error.ts'
import type { QemuFunction } from './qemu-function.ts'
import { describeExit, lastWords, type QemuExit } from './qemu-process.ts'
import type { Qmp } from './qmp.ts'
import type { Qtest } from './qtest.ts'

/** How long QEMU may take to end in order, writing its disks back. */
const QUIT_DEADLINE_MS = 3_000
/** How long QEMU may outlive the qtest wire. */
const BROKEN_DEADLINE_MS = 1_000
const EJECT_DEADLINE_MS = 10_000

/**
 * QEMU without a guest: a machine whose processor sleeps, so that this process drives its PCI devices. Whoever starts a bench
 * closes it; QEMU does not outlive this process in any case.
 */
export class QemuBench {
  readonly #qemu: LaunchedQemu
  readonly #platform: Platform
  readonly #topology: PciTopology
  readonly #directory: FunctionDirectory
  readonly #exitListeners = new Set<(error: Error) => void>()
  #ended: QemuError | undefined
  #closing: Promise<void> | undefined
  /** The look at the buses, or change to what is on them, that is under way: they take turns. */
  #turn: Promise<unknown> = Promise.resolve()

  /**
   * @throws QemuError `qemu.not-found`, `qemu.start-failed` (with what QEMU said), `qemu.version`; TypeError or RangeError for
   * options that make no sense; the signal's reason when that is aborted
   */
  static async start(options: QemuBenchOptions): Promise<QemuBench> {
    const devices = deviceOptions(options.devices)
    const bench = new QemuBench(await launch(options, devices), options, devices)
    try {
      bench.#qemu.qtest.interceptInterrupts()
      await bench.rescan()
      return bench
    } catch (error) {
      await bench.close()
      throw error
    }
  }

  private constructor(qemu: LaunchedQemu, options: QemuBenchOptions, devices: readonly DeviceOption[]) {
    const { qtest, qmp, ram, vectors, process } = qemu
    this.#qemu = qemu
    this.#platform = platformOf(options.machine ?? 'q35', qtest)
    this.#topology = new PciTopology(this.#platform)
    const lines = new InterruptLines({ watch: () => qtest.watch() })
    this.#directory = new FunctionDirectory(
      { qtest, topology: this.#topology, lines, dma: ram, vectors },
      devices.map(({ id }) => id),
    )
    qtest.onInterrupt = (pin, raised) => lines.change(pin, raised)
    qtest.onBroken = ({ code }) => {
      // Closing the wire is the first sign of an end in order, which must not be cut short.
      if (code === 'qemu.exited') setTimeout(() => process.kill(), BROKEN_DEADLINE_MS).unref()
      else process.kill()
    }
    qmp.on('DEVICE_DELETED', ({ device }) => this.#deviceDeleted(device))
    void process.exited.then((exit) => this.#processExited(exit))
  }

  get pid(): number {
    return this.#qemu.process.pid
  }

  /** How QEMU was started, for a bug report. */
  get commandLine(): readonly string[] {
    return this.#qemu.process.commandLine
  }

  /** The last 16 KiB of what QEMU has said. */
  get stderr(): string {
    return this.#qemu.process.stderr
  }

  get qmp(): Qmp {
    return this.#qemu.qmp
  }

  /** Registers outside of PCI functions. */
  get qtest(): Qtest {
    return this.#qemu.qtest
  }

  /** Memory that all functions can reach. */
  get dma(): DmaAllocator {
    return this.#qemu.ram
  }

  /** The functions there are, first those of `options.devices` in that order. Neither bridges nor the machine's own. */
  get functions(): readonly QemuFunction[] {
    return this.#directory.functions
  }

  /**
   * The function of a device: always the same object until that is closed, then a new one.
   * @param idOrIndex the device's id, its `0000:00:01.0` address, or its place in `functions`
   * @throws QemuError `qemu.no-function`; `qemu.exited`, `qemu.closed`
   */
  function(idOrIndex: string | number): QemuFunction {
    if (this.#ended !== undefined) throw this.#ended
    return this.#directory.find(idOrIndex)
  }

  /** Calls `listener` when QEMU ends without having been asked to. Returns a function that takes it off. */
  onExit(listener: (error: Error) => void): () => void {
    const ended = this.#ended
    const entry = (error: Error): void => listener(error)
    if (ended === undefined) this.#exitListeners.add(entry)
    else if (ended.code === 'qemu.exited') queueMicrotask(() => listener(ended))
    return () => void this.#exitListeners.delete(entry)
  }

  /**
   * Looks for functions that have come or gone, and gives those that were reset (`qmp.systemReset()`) their addresses back;
   * their interrupts and bus master have to be enabled anew.
   */
  rescan(): Promise<RescanResult> {
    return this.#exclusively(() => this.#rescan())
  }

  /**
   * Plugs a device in. On q35 it goes to the first free `pcie-root-port` unless it names a `bus`.
   * @param device as QEMU spells `-device`
   * @throws QemuError `qmp.error` when QEMU refuses, `qemu.no-hot-plug` when there is no place for it
   */
  hotAdd(device: string): Promise<QemuFunction> {
    return this.#exclusively(async () => {
      let number = 0
      while (this.#directory.knows(`device${number}`)) number++
      const option = deviceOption(device, `device${number}`)
      if (this.#directory.knows(option.id)) throw new TypeError(`there is a device with the id '${option.id}' already`)
      const port = this.#platform.machine === 'q35' ? await this.#portFor(option) : undefined
      await this.qmp.deviceAdd((port === undefined ? option : onBus(option, port.id)).text)
      this.#directory.append(option.id)
      if (port !== undefined) powerSlotOn(port.config)
      await this.#rescan()
      return this.function(option.id)
    })
  }

  /**
   * Unplugs a device. Its function is gone from the moment QEMU is told that it may take it away: close the driver first,
   * unless a surprise is what you want.
   * @throws QemuError `qemu.no-function`, `qmp.error` when QEMU refuses (a bus without hot-plug)
   */
  hotRemove(id: string): Promise<void> {
    return this.#exclusively(async () => {
      const entry = this.#directory.entry(id)
      const deleted = this.qmp.next('DEVICE_DELETED', ({ device }) => device === id, { timeout: EJECT_DEADLINE_MS })
      // if the request fails nobody waits for the event
      deleted.catch(() => {})
      await this.qmp.deviceDel(id)
      this.#directory.remove(entry, unplugged(id))
      ejectFunction(this.#platform.machine, this.qtest, entry.placed)
      await deleted
    })
  }

  /** Ends QEMU and lets go of everything. Functions that are still open are gone. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #shutDown(): Promise<void> {
    const { process, qtest, qmp } = this.#qemu
    this.#ended ??= new QemuError('qemu.closed', 'the bench has been closed: start a new one')
    this.#exitListeners.clear()
    this.#directory.removeAll(this.#ended)
    const working = qtest.broken === undefined
    const deadline = setTimeout(() => process.kill(), working ? QUIT_DEADLINE_MS : 0)
    if (working) await qmp.execute('quit', undefined, { timeout: QUIT_DEADLINE_MS }).catch(() => {})
    await process.exited
    clearTimeout(deadline)
    qtest.close(this.#ended)
    qmp.close(this.#ended)
    this.#qemu.release()
  }

  #processExited(exit: QemuExit): void {
    if (this.#closing !== undefined) return
    const { process, qtest, qmp } = this.#qemu
    const why = qtest.broken === undefined || qtest.broken.code === 'qemu.exited' ? '' : ` ${qtest.broken.message}.`
    const words = lastWords(process.stderr)
    const said = words === '' ? '' : ` It said: ${words}`
    const message = `QEMU (process ${process.pid}) ended ${describeExit(exit)} while in use.${why}${said}`
    const error = new QemuError('qemu.exited', message)
    this.#ended = error
    qtest.close(error)
    qmp.close(error)
    this.#directory.removeAll(error)
    // each on its own: one that throws does not keep the others from hearing of it
    for (const listener of this.#exitListeners) queueMicrotask(() => listener(error))
    this.#exitListeners.clear()
  }

  #rescan(): Promise<RescanResult> {
    this.#platform.initialize()
    return this.#directory.rescan(this.qmp)
  }

  #deviceDeleted(id: string | undefined): void {
    const entry = this.#directory.entries.find((candidate) => id !== undefined && candidate.id === id)
    if (entry !== undefined) this.#directory.remove(entry, unplugged(entry.id))
  }

  /** The PCI Express port that a device goes to. @throws QemuError `qemu.no-hot-plug` */
  async #portFor({ bus: wanted }: DeviceOption): Promise<{ readonly id: string; readonly config: FunctionConfig }> {
    for (const { qdev_id: id, bus, slot, function: fn } of await this.qmp.queryPci()) {
      const behind = this.#topology.busBehind((bus << 8) | (slot << 3) | fn)
      if (behind?.bridge === undefined || id === '') continue
      const free = !this.#directory.entries.some(({ placed }) => placed.bus === behind)
      if (wanted === undefined ? free : wanted === id) return { id, config: behind.bridge.config }
    }
    const message =
      wanted === undefined
        ? "q35 has no free slot: add devices 'pcie-root-port,id=port0,chassis=1', one for each device to be plugged in"
        : `there is no PCI Express port with the id '${wanted}'`
    throw new QemuError('qemu.no-hot-plug', message)
  }

  #exclusively<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(() => {
      if (this.#ended !== undefined) throw this.#ended
      return act()
    })
    this.#turn = result.catch(() => {})
    return result
  }
}

function unplugged(id: string): QemuError {
  return new QemuError('qemu.no-function', `the device ${id} has been unplugged`)
}
