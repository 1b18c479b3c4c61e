import type { OpenedDevice } from '@virtio-ts/device-locator'
import { BlockModel, type BlockModelOptions, type DeviceProfile, modelFunction } from '@virtio-ts/device-models'
import type { BlockOptions } from '@virtio-ts/driver-block'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { Disk, type DiskEvent } from './disk.ts'

export interface ModelDiskOptions {
  readonly model?: BlockModelOptions
  /** Of each device in turn; the last one of those that follow too. */
  readonly profiles?: readonly DeviceProfile[]
  readonly reconnects?: boolean
  readonly driver?: BlockOptions
  /** What attaching fails with, by its turn. */
  readonly failures?: Readonly<Record<number, Error>>
}

/** A disk on software devices: one after the other, as a back-end that is started again; what is stored stays. */
export class ModelDisk implements AsyncDisposable {
  readonly events: DiskEvent[] = []
  readonly models: BlockModel[] = []
  attached = 0
  released = 0
  readonly #options: ModelDiskOptions
  disk!: Disk

  private constructor(options: ModelDiskOptions) {
    this.#options = options
  }

  static async open(options: ModelDiskOptions = {}): Promise<ModelDisk> {
    const made = new ModelDisk(options)
    const { driver } = options
    made.disk = await Disk.open(
      made.device(),
      { onEvent: (event) => made.events.push(event), ...(driver && { driver }) },
      new AbortController().signal,
    )
    return made
  }

  get model(): BlockModel {
    return this.models.at(-1) as BlockModel
  }

  device(): OpenedDevice {
    const { model: modelOptions = {}, profiles = [], reconnects = false, failures = {} } = this.#options
    return {
      identity: {},
      reconnects,
      handsOverQueues: false,
      attach: () => {
        const turn = this.attached++
        const failure = failures[turn]
        if (failure) return Promise.reject(failure)
        const model = new BlockModel(modelOptions)
        const before = this.models.at(-1)
        // What the device before it had stored.
        if (before) model.store.write(0, before.store.read(0, before.capacity * 512))
        this.models.push(model)
        const profile = profiles[Math.min(turn, profiles.length - 1)]
        return VirtioPciDriver.attach(modelFunction(model, profile ? { profile } : {}))
      },
      release: async () => void this.released++,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disk.stop(1000).catch(() => {})
  }
}

/** Bytes that differ from place to place; none is zero. */
export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => ((i * 7 + (i >> 8) * 13 + seed * 31) & 0xff) | 1)
}

/** Turns of the event loop until something is so. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2))
}
