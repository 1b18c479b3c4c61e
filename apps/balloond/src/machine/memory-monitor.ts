import { CommandError } from '@virtio-ts/command-line'
import type { BalloonStatistics } from '@virtio-ts/driver-balloon'
import { join } from 'node:path'
import { cgroupAvailable, controllerFile } from './cgroup.ts'
import { machineStatistics } from './machine-statistics.ts'
import { pageSize } from './page-size.ts'
import { parseFields } from './parse-fields.ts'
import { type Pressure, parsePressure } from './parse-pressure.ts'
import { readText } from './read-text.ts'

export interface MonitorOptions {
  /** A file in the format of PSI. @defaultValue that of the cgroup, or of the machine */
  readonly pressure: string | undefined
  /** The directory of a cgroup, whose limit counts as well. */
  readonly cgroup: string | undefined
  /** Where procfs is mounted. @defaultValue `/proc` */
  readonly proc?: string
}

/** How much memory there is, and how long work has to wait for it. */
export interface MemoryReading {
  /** Undefined where this system does not tell. */
  readonly pressure: Pressure | undefined
  /** Bytes, in the machine and in the cgroup. */
  readonly available: number | undefined
}

/** Reads what the kernel says about memory: again and again. */
export class MemoryMonitor {
  readonly #options: MonitorOptions
  readonly #proc: string
  readonly #pageSize: number
  /** Where the pressure is told; undefined where it is not. */
  #pressure: string | undefined

  private constructor(options: MonitorOptions) {
    this.#options = options
    this.#proc = options.proc ?? '/proc'
    this.#pageSize = pageSize()
  }

  /** @throws CommandError `pressure.unreadable` when a file or cgroup that was asked for cannot be read */
  static async open(options: MonitorOptions): Promise<MemoryMonitor> {
    const monitor = new MemoryMonitor(options)
    const { pressure, cgroup } = options
    const candidates = [
      ...(pressure === undefined ? [] : [pressure]),
      ...(cgroup === undefined ? [] : [controllerFile(cgroup, 'pressure')]),
      join(monitor.#proc, 'pressure/memory'),
    ]
    for (const candidate of pressure === undefined ? candidates : candidates.slice(0, 1)) {
      if (parsePressure((await readText(candidate)) ?? '') === undefined) continue
      monitor.#pressure = candidate
      break
    }
    if (pressure !== undefined && monitor.#pressure === undefined) throw unreadable(pressure, 'is no pressure file')
    await monitor.read()
    return monitor
  }

  /** Where the pressure is told, or undefined. */
  get pressurePath(): string | undefined {
    return this.#pressure
  }

  /** @throws CommandError `pressure.unreadable` for what could be read at first, and cannot any more */
  async read(): Promise<MemoryReading> {
    const path = this.#pressure
    const { cgroup } = this.#options
    const [text, meminfo, group] = await Promise.all([
      path === undefined ? undefined : readText(path),
      readText(join(this.#proc, 'meminfo')),
      cgroup === undefined ? undefined : cgroupAvailable(cgroup),
    ])
    const pressure = parsePressure(text ?? '')
    if (path !== undefined && pressure === undefined) throw unreadable(path, 'is no pressure file')
    if (group === 'unreadable') throw unreadable(String(cgroup), 'has no memory controller')
    const machine = parseFields(meminfo ?? '').get('MemAvailable')
    const known = [machine, group].filter((bytes) => bytes !== undefined)
    return { pressure, available: known.length === 0 ? undefined : Math.min(...known) }
  }

  /** What the device is told. */
  async statistics(): Promise<BalloonStatistics> {
    const [meminfo, vmstat] = await Promise.all(
      ['meminfo', 'vmstat'].map(async (name) => parseFields((await readText(join(this.#proc, name))) ?? '')),
    )
    return machineStatistics(meminfo ?? new Map(), vmstat ?? new Map(), this.#pageSize)
  }
}

function unreadable(path: string, why: string): CommandError {
  return new CommandError('pressure.unreadable', `cannot read ${path}`, {
    why: `it is not there, may not be read, or ${why}`,
    fix: 'without --pressure and --cgroup balloond follows /proc/pressure/memory',
  })
}
