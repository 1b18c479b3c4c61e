import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BlockDriver, type BlockOptions } from '@virtio-ts/driver-block'
import { QemuBench, type QemuFunction } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'

export interface QemuDiskOptions {
  /** Bytes. @defaultValue 16 MiB */
  readonly size?: number
  /** Of the device, e.g. `packed=on`. @defaultValue modern only */
  readonly properties?: string
  /** Of the drive, e.g. `readonly=on`; `{image}` stands for the path of the image. @defaultValue a raw file */
  readonly drive?: string
  readonly interface?: 'legacy' | 'auto'
}

/** QEMU with one disk, an image in a folder of its own. */
export class QemuDisk {
  readonly qemu: QemuBench
  readonly image: string
  readonly #folder: string
  readonly #options: QemuDiskOptions

  private constructor(qemu: QemuBench, folder: string, image: string, options: QemuDiskOptions) {
    this.qemu = qemu
    this.#folder = folder
    this.image = image
    this.#options = options
  }

  static async start(options: QemuDiskOptions = {}): Promise<QemuDisk> {
    const folder = mkdtempSync(join(tmpdir(), 'vts-block-'))
    const image = join(folder, 'disk.img')
    const file = openSync(image, 'w')
    ftruncateSync(file, options.size ?? 16 * 2 ** 20)
    closeSync(file)
    const drive = options.drive ?? 'file={image},format=raw,discard=unmap'
    try {
      const qemu = await QemuBench.start({
        devices: [`virtio-blk-pci,drive=drive0,id=disk,serial=qemu-disk,${options.properties ?? 'disable-legacy=on'}`],
        drives: [`if=none,id=drive0,${drive.replaceAll('{image}', image)}`],
      })
      return new QemuDisk(qemu, folder, image, options)
    } catch (error) {
      rmSync(folder, { recursive: true })
      throw error
    }
  }

  get fn(): QemuFunction {
    return this.qemu.function('disk')
  }

  async open(options?: BlockOptions): Promise<BlockDriver> {
    return BlockDriver.open(
      await VirtioPciDriver.attach(this.fn, { interface: this.#options.interface ?? 'auto' }),
      options,
    )
  }

  /** Bytes of the image, as the file system has them. */
  stored(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    const file = openSync(this.image, 'r')
    readSync(file, bytes, 0, length, offset)
    closeSync(file)
    return bytes
  }

  /** Bytes the image takes on its file system: `du`. */
  allocated(): number {
    return statSync(this.image).blocks * 512
  }

  async resize(capacity: number): Promise<void> {
    await this.qemu.qmp.execute('block_resize', { device: 'drive0', size: capacity })
  }

  async close(): Promise<void> {
    await this.qemu.close()
    rmSync(this.#folder, { recursive: true })
  }
}
