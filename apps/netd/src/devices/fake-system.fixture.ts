import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { SystemRoots } from './scan-devices.ts'

export interface FakeFunction {
  readonly vendor?: string
  readonly device: string
  readonly subsystem?: string
  readonly revision?: string
  readonly driver?: string
  readonly group?: number
  readonly interfaces?: readonly string[]
  /** Configuration space; 64 bytes of it are what the unprivileged see. */
  readonly config?: Uint8Array
}

/** sysfs and procfs as files in a directory of their own. */
export class FakeSystem implements Disposable {
  readonly root: string = mkdtempSync(join(tmpdir(), 'netd-sysfs-'))
  readonly roots: SystemRoots = { sys: join(this.root, 'sys'), proc: join(this.root, 'proc') }

  file(path: string, content: string | Uint8Array): void {
    const full = join(this.root, path)
    mkdirSync(dirname(full), { recursive: true })
    writeFileSync(full, content)
  }

  link(path: string, target: string): void {
    const full = join(this.root, path)
    mkdirSync(dirname(full), { recursive: true })
    symlinkSync(target, full)
  }

  add(address: string, fn: FakeFunction): void {
    const at = `sys/bus/pci/devices/${address}`
    this.file(`${at}/vendor`, `${fn.vendor ?? '0x1af4'}\n`)
    this.file(`${at}/device`, `${fn.device}\n`)
    this.file(`${at}/revision`, `${fn.revision ?? '0x00'}\n`)
    if (fn.subsystem) this.file(`${at}/subsystem_device`, `${fn.subsystem}\n`)
    if (fn.config) this.file(`${at}/config`, fn.config)
    if (fn.driver) this.link(`${at}/driver`, `../../../bus/pci/drivers/${fn.driver}`)
    if (fn.group !== undefined) {
      this.file(`sys/kernel/iommu_groups/${fn.group}/devices/${address}`, '')
      this.link(`${at}/iommu_group`, `../../../../kernel/iommu_groups/${fn.group}`)
    }
    for (const name of fn.interfaces ?? []) {
      this.file(`${at}/virtio0/net/${name}/mtu`, '1500\n')
      this.file(`${at}/virtio0/net/${name}/address`, '52:54:00:12:34:56\n')
      this.file(`sys/class/net/${name}/operstate`, 'up\n')
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true })
  }
}

/** A configuration space with these capabilities, `[id, offset]`, linked in the order given. */
export function configSpace(
  capabilities: readonly (readonly [id: number, offset: number])[],
  length = 256,
): Uint8Array {
  const bytes = new Uint8Array(length)
  if (capabilities.length > 0) bytes[0x06] = 0x10
  let pointer = 0x34
  for (const [id, offset] of capabilities) {
    bytes[pointer] = offset
    if (offset < length) bytes[offset] = id
    pointer = offset + 1
  }
  return bytes
}
