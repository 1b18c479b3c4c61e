import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigSpace } from './config-space.fixture.ts'
import type { SystemPaths } from './device-directory.ts'

export interface FakeDeviceOptions {
  readonly driver?: string
  readonly group?: string
  /** The group's type as the kernel has it, e.g. `DMA-FQ`, `identity`. */
  readonly groupType?: string
  readonly noIommu?: boolean
  readonly config?: Uint8Array
  /** Lines of `resource`: start, end, flags. */
  readonly resources?: readonly (readonly [number, number, number])[]
  readonly uio?: string
}

/** A configuration space with an MSI-X capability of `vectors` vectors, table in BAR 1 at `tableOffset`, and power management. */
export function msixConfig(vectors: number, tableOffset = 0): Uint8Array {
  const { bytes } = ConfigSpace.withCapabilities(
    [0x11, 0, vectors - 1, 0, tableOffset | 1, tableOffset >> 8, 0, 0, 0x01, 0x08, 0, 0],
    [0x01, 0, 3, 0, 0, 0, 0, 0],
  )
  return bytes
}

/** /sys, /dev and /proc in a directory of their own. */
export class FakeMachine {
  readonly #root = mkdtempSync(join(tmpdir(), 'pci-machine-'))
  readonly paths: SystemPaths = {
    sys: join(this.#root, 'sys'),
    dev: join(this.#root, 'dev'),
    proc: join(this.#root, 'proc'),
  }

  constructor() {
    mkdirSync(join(this.paths.sys, 'bus/pci/devices'), { recursive: true })
    mkdirSync(this.paths.dev, { recursive: true })
    mkdirSync(join(this.paths.proc, 'self'), { recursive: true })
    writeFileSync(
      join(this.paths.proc, 'self/limits'),
      'Limit                     Soft Limit           Hard Limit           Units     \n' +
        'Max locked memory         8388608              8388608              bytes     \n',
    )
  }

  add(address: string, options: FakeDeviceOptions = {}): string {
    const directory = this.device(address)
    mkdirSync(directory)
    if (options.driver !== undefined) {
      const driver = join(this.paths.sys, 'bus/pci/drivers', options.driver)
      mkdirSync(driver, { recursive: true })
      symlinkSync(driver, join(directory, 'driver'))
    }
    if (options.group !== undefined) {
      const group = join(this.paths.sys, 'kernel/iommu_groups', options.group)
      mkdirSync(join(group, 'devices'), { recursive: true })
      writeFileSync(join(group, 'type'), `${options.groupType ?? 'DMA-FQ'}\n`)
      if (options.noIommu === true) writeFileSync(join(group, 'name'), 'vfio-noiommu\n')
      symlinkSync(directory, join(group, 'devices', address))
      symlinkSync(group, join(directory, 'iommu_group'))
    }
    writeFileSync(join(directory, 'config'), options.config ?? msixConfig(4))
    writeFileSync(join(directory, 'enable'), '0\n')
    const hex = (value: number): string => `0x${value.toString(16).padStart(16, '0')}`
    const lines = Array.from({ length: 13 }, (_, i) => options.resources?.[i] ?? [0, 0, 0])
    writeFileSync(join(directory, 'resource'), `${lines.map((line) => line.map(hex).join(' ')).join('\n')}\n`)
    for (const [index, [start, end, flags]] of (options.resources ?? []).entries())
      if (flags !== 0) writeFileSync(join(directory, `resource${index}`), new Uint8Array(end - start + 1))
    if (options.uio !== undefined) mkdirSync(join(directory, 'uio', options.uio), { recursive: true })
    return directory
  }

  /** As the module's parameter is set. */
  allowNoIommu(): void {
    const parameters = join(this.paths.sys, 'module/vfio/parameters')
    mkdirSync(parameters, { recursive: true })
    writeFileSync(join(parameters, 'enable_unsafe_noiommu_mode'), 'Y\n')
  }

  device(address: string): string {
    return join(this.paths.sys, 'bus/pci/devices', address)
  }

  remove(): void {
    rmSync(this.#root, { recursive: true, force: true })
  }
}
