import { closeSync, ftruncateSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { StorageDaemon } from './storage-daemon.ts'

/** A device that blkd can open, of 64 MiB, all zeroes; an own one each time. */
export interface ServableDevice {
  readonly name: 'model' | 'qemu' | 'vhost-user'
  /** @param folder for what it is made of @returns its locator, and the image behind it where there is one */
  make(folder: string): Promise<{ locator: string; image?: string; daemon?: StorageDaemon }>
}

export const deviceSize: number = 64 * 2 ** 20

let made = 0

export function emptyImage(folder: string, size: number = deviceSize): string {
  const image = join(folder, `image-${made++}`)
  const file = openSync(image, 'wx')
  ftruncateSync(file, size)
  closeSync(file)
  return image
}

export const servableDevices: readonly ServableDevice[] = [
  { name: 'model', make: async () => ({ locator: 'model:block,profile=strict' }) },
  {
    name: 'qemu',
    make: async (folder) => {
      const image = emptyImage(folder)
      return { locator: `qemu:virtio-blk-pci;drive=${image}`, image }
    },
  },
  {
    name: 'vhost-user',
    make: async (folder) => {
      const image = emptyImage(folder)
      const path = join(folder, `vhost-${made++}`)
      const daemon = await StorageDaemon.launch({ path, image, writable: true, queues: 2 })
      return { locator: `vhost-user:${path}`, image, daemon }
    },
  },
]
