import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type SysfsFiles, sysfsFiles } from './sysfs-files.ts'

const attributes = /^bus\/pci\/(drivers_probe|drivers\/([^/]+)\/(bind|unbind)|devices\/([^/]+)\/driver_override)$/

/** A sysfs in a directory of its own, and behind it what the kernel does when its attributes are written. */
export class FakeKernel implements Disposable {
  readonly root: string = mkdtempSync(join(tmpdir(), 'pci-sysfs-'))
  /** What was written, `path text`. */
  readonly writes: string[] = []
  /** Which driver takes a function of its own accord; an override goes before it. */
  readonly natural = new Map<string, string>()
  /** Called when a function is bound (`driver` is its name) or unbound (undefined). */
  onBinding: (address: string, driver: string | undefined) => void = () => {}
  /** Called before and after each write; what it throws, the writer gets. */
  onWrite: (path: string, when: 'before' | 'after') => void | Promise<void> = () => {}
  /** Drivers that take nothing. */
  readonly failing = new Set<string>()
  readonly sysfs: SysfsFiles = {
    ...sysfsFiles(this.root),
    write: async (path, text) => {
      await this.onWrite(path, 'before')
      this.writes.push(`${path} ${text.trim()}`)
      this.#obey(path, text)
      await this.onWrite(path, 'after')
    },
  }

  constructor(drivers: readonly string[] = ['virtio-pci', 'vfio-pci', 'e1000e']) {
    for (const driver of drivers) {
      this.file(`bus/pci/drivers/${driver}/bind`, '')
      this.file(`bus/pci/drivers/${driver}/unbind`, '')
    }
    this.file('bus/pci/drivers_probe', '')
  }

  file(path: string, content: string): void {
    const full = join(this.root, path)
    mkdirSync(dirname(full), { recursive: true })
    writeFileSync(full, content)
  }

  link(path: string, target: string): void {
    const full = join(this.root, path)
    mkdirSync(dirname(full), { recursive: true })
    symlinkSync(target, full)
  }

  remove(path: string): void {
    rmSync(join(this.root, path), { recursive: true, force: true })
  }

  /** A function, bound to `driver` where one is given, which is then also the one it gets by nature. */
  add(address: string, { driver, group }: { readonly driver?: string; readonly group?: number } = {}): void {
    const at = `bus/pci/devices/${address}`
    this.file(`${at}/driver_override`, '(null)\n')
    if (group !== undefined) {
      this.file(`kernel/iommu_groups/${group}/devices/${address}`, '')
      this.link(`${at}/iommu_group`, `../../../../kernel/iommu_groups/${group}`)
    }
    if (driver === undefined) return
    this.natural.set(address, driver)
    this.#bind(address, driver)
  }

  override(address: string): string {
    return readFileSync(join(this.root, `bus/pci/devices/${address}/driver_override`), 'utf8').trim()
  }

  #bind(address: string, driver: string): void {
    if (this.failing.has(driver)) return
    this.link(`bus/pci/devices/${address}/driver`, `../../drivers/${driver}`)
    this.onBinding(address, driver)
  }

  #obey(path: string, text: string): void {
    const [, , driver = '', verb, overridden] = attributes.exec(path) ?? []
    if (!existsSync(join(this.root, path))) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' })
    if (overridden !== undefined) {
      this.file(path, text === '\n' ? '(null)\n' : text)
      return
    }
    const bound = this.sysfs.linkName(`bus/pci/devices/${text}/driver`)
    if (verb === 'unbind') {
      if (bound !== driver) throw Object.assign(new Error('ENODEV: no such device'), { code: 'ENODEV' })
      this.remove(`bus/pci/devices/${text}/driver`)
      this.onBinding(text, undefined)
      return
    }
    const override = this.override(text)
    const match = override === '(null)' ? this.natural.get(text) : override
    if (verb === 'bind') {
      if (bound !== undefined || match !== driver)
        throw Object.assign(new Error('ENODEV: no such device'), { code: 'ENODEV' })
      this.#bind(text, driver)
    } else if (path === 'bus/pci/drivers_probe') {
      if (bound === undefined && match !== undefined) this.#bind(text, match)
    } else throw new Error(`nobody writes to ${path}`)
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true })
  }
}
