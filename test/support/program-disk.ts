import { rmSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { BlockDriver, type BlockOptions } from '@virtio-ts/driver-block'
import { DeviceType } from '@virtio-ts/spec'
import { VhostUserEndpoint, type VhostUserTransport } from '@virtio-ts/transport-vhost-user'
import { BackEndProgram } from './back-end-program.ts'
import { DiskImage } from './disk-image.ts'
import type { TestDisk } from './test-disk.ts'

/** A disk of our own back-end program, with an image, reached by vhost-user. */
export class ProgramDisk implements TestDisk {
  readonly path: string
  readonly endpoint: VhostUserEndpoint
  readonly #image: DiskImage
  readonly #words: readonly string[]
  #program: BackEndProgram
  #transport: VhostUserTransport | undefined

  private constructor(path: string, image: DiskImage, program: BackEndProgram, words: readonly string[]) {
    this.path = path
    this.#image = image
    this.#program = program
    this.#words = words
    this.endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.BLOCK, timeout: 20_000 })
  }

  /** @param words of the program's command line */
  static async start(words: readonly string[] = []): Promise<ProgramDisk> {
    const image = new DiskImage()
    const path = join(image.folder, 'socket')
    const all = ['block', `--blk-file=${image.path}`, ...words]
    try {
      return new ProgramDisk(path, image, await BackEndProgram.launch(path, all), all)
    } catch (error) {
      image.remove()
      throw error
    }
  }

  get program(): BackEndProgram {
    return this.#program
  }

  async open(options?: BlockOptions): Promise<BlockDriver> {
    this.#transport = await this.endpoint.connect({ wait: true })
    return BlockDriver.open(this.#transport, options)
  }

  stored(offset: number, length: number): Uint8Array {
    return this.#image.stored(offset, length)
  }

  allocated(): number {
    return this.#image.allocated()
  }

  resize(capacity: number): void {
    truncateSync(this.#image.path, capacity)
    this.#program.signal('SIGHUP')
  }

  allocatedBytes(): number {
    return this.#transport?.dma.stats.allocatedBytes ?? 0
  }

  kill(): Promise<void> {
    return this.#program.kill()
  }

  /** Another one at the same place, with the same image. A socket that was left behind is replaced by it. */
  async launchAgain(): Promise<void> {
    rmSync(this.path, { force: true })
    this.#program = await BackEndProgram.launch(this.path, this.#words)
  }

  async close(): Promise<void> {
    await this.endpoint.close()
    await this.#program.kill()
    this.#image.remove()
  }
}
