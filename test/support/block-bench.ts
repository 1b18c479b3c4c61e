import { BlockDriver, type BlockOptions } from '@virtio-ts/driver-block'
import { QemuBench, type QemuFunction } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { DiskImage } from './disk-image.ts'
import { blkdebugRules, type DiskNeeds, type TestDisk } from './test-disk.ts'

export interface QemuDiskOptions extends DiskNeeds {
  /** Bytes. @defaultValue 16 MiB */
  readonly size?: number
  /** Of the device, e.g. `packed=on`. @defaultValue modern only */
  readonly properties?: string
  readonly interface?: 'legacy' | 'auto'
}

/** QEMU with one disk, an image in a folder of its own. */
export class QemuDisk implements TestDisk {
  readonly qemu: QemuBench
  readonly #image: DiskImage
  readonly #options: QemuDiskOptions
  #fn: QemuFunction | undefined

  private constructor(qemu: QemuBench, image: DiskImage, options: QemuDiskOptions) {
    this.qemu = qemu
    this.#image = image
    this.#options = options
  }

  static async start(options: QemuDiskOptions = {}): Promise<QemuDisk> {
    const image = new DiskImage(options.size)
    try {
      const qemu = await QemuBench.start({
        devices: [`virtio-blk-pci,drive=drive0,id=disk,serial=qemu-disk,${options.properties ?? 'disable-legacy=on'}`],
        drives: [`if=none,id=drive0,${driveOf(image.path, options)}`],
      })
      return new QemuDisk(qemu, image, options)
    } catch (error) {
      image.remove()
      throw error
    }
  }

  get fn(): QemuFunction {
    this.#fn ??= this.qemu.function('disk')
    return this.#fn
  }

  async open(options?: BlockOptions): Promise<BlockDriver> {
    return BlockDriver.open(
      await VirtioPciDriver.attach(this.fn, { interface: this.#options.interface ?? 'auto' }),
      options,
    )
  }

  stored(offset: number, length: number): Uint8Array {
    return this.#image.stored(offset, length)
  }

  allocated(): number {
    return this.#image.allocated()
  }

  async resize(capacity: number): Promise<void> {
    await this.qemu.qmp.execute('block_resize', { device: 'drive0', size: capacity })
  }

  allocatedBytes(): number {
    return this.fn.dma.stats.allocatedBytes
  }

  kill(): void {
    process.kill(this.qemu.pid, 'SIGKILL')
  }

  async close(): Promise<void> {
    await this.qemu.close()
    this.#image.remove()
  }
}

function driveOf(path: string, needs: DiskNeeds): string {
  if (needs.failing)
    return `driver=blkdebug,image.driver=file,image.filename=${path},werror=report,rerror=report,discard=unmap,${blkdebugRules(needs)}`
  const throttle = needs.slow ? ',throttling.iops-total=20' : ''
  return `file=${path},format=raw,discard=unmap,readonly=${needs.readOnly ? 'on' : 'off'}${throttle}`
}
