import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { BlockDriver, type BlockOptions } from '@virtio-ts/driver-block'
import { DeviceType } from '@virtio-ts/spec'
import { VhostUserEndpoint, type VhostUserTransport } from '@virtio-ts/transport-vhost-user'
import { DiskImage } from './disk-image.ts'
import { StorageDaemon } from './storage-daemon.ts'
import { blkdebugRules, type DiskNeeds, type TestDisk } from './test-disk.ts'

export interface StorageDaemonDiskOptions extends DiskNeeds {
  readonly queues?: number
  /** Bytes. */
  readonly blockSize?: number
}

/** Milliseconds a message may take, on a machine that has much else to do. */
const PATIENCE = 20_000

/** A disk of QEMU's storage daemon, reached by vhost-user. */
export class StorageDaemonDisk implements TestDisk {
  readonly endpoint: VhostUserEndpoint
  readonly #image: DiskImage
  readonly #options: StorageDaemonDiskOptions
  #daemon: StorageDaemon
  #transport: VhostUserTransport | undefined

  private constructor(image: DiskImage, daemon: StorageDaemon, options: StorageDaemonDiskOptions) {
    this.#image = image
    this.#daemon = daemon
    this.#options = options
    const path = socketOf(image)
    this.endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.BLOCK, timeout: PATIENCE })
  }

  static async start(options: StorageDaemonDiskOptions = {}): Promise<StorageDaemonDisk> {
    const image = new DiskImage()
    try {
      return new StorageDaemonDisk(image, await launch(image, options), options)
    } catch (error) {
      image.remove()
      throw error
    }
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

  allocatedBytes(): number {
    return this.#transport?.dma.stats.allocatedBytes ?? 0
  }

  kill(): Promise<void> {
    return this.#daemon.kill()
  }

  /** Another daemon at the same place, with the same image, after `kill()`. */
  async launchAgain(needs: DiskNeeds = {}): Promise<void> {
    rmSync(socketOf(this.#image))
    this.#daemon = await launch(this.#image, { ...this.#options, ...needs })
  }

  async close(): Promise<void> {
    await this.endpoint.close()
    await this.#daemon.kill()
    this.#image.remove()
  }
}

function socketOf({ folder }: DiskImage): string {
  return join(folder, 'socket')
}

function launch(image: DiskImage, options: StorageDaemonDiskOptions): Promise<StorageDaemon> {
  const { readOnly = false, failing, slow, ...rest } = options
  const throttle = ['--object', 'throttle-group,id=twenty,x-iops-total=20']
  const more = [
    ...(failing
      ? ['--blockdev', `driver=blkdebug,node-name=top,image=image,discard=unmap,${blkdebugRules(options)}`]
      : []),
    ...(slow ? [...throttle, '--blockdev', 'driver=throttle,node-name=top,throttle-group=twenty,file=image'] : []),
  ]
  return StorageDaemon.launch({ path: socketOf(image), image: image.path, writable: !readOnly, more, ...rest })
}
