import {
  type BenchPlan,
  benchNames,
  benchParts,
  checkModelOptions,
  type DeviceKind,
  formatOptions,
  type LocatorOptions,
  modelFunctionOptions,
  modelOptionError,
  type QemuLocator,
} from '@virtio-ts/device-locator'
import { BalloonModel, modelFunction } from '@virtio-ts/device-models'
import { heapDma } from '@virtio-ts/memory/heap'
import type { PciFunction } from '@virtio-ts/pci'
import { DeviceType } from '@virtio-ts/spec'
import { parseSize } from '../command-line/parse-size.ts'

/** The id of the bench's balloon, for QMP. */
export const balloonId = 'balloon0'

const MiB = 2 ** 20
const PAGE = 4096
const DEFAULT_TARGET = 8 * MiB
/** As much as the model's memory can be, which is this process's. */
const MOST_TARGET = 1024 * MiB

/** A bench with the locator's device. Its character device, if any, speaks QMP: that is how others ask for memory. */
export function balloonBench(locator: QemuLocator): BenchPlan {
  const { device, properties, chardev } = locator
  return {
    options: {
      ...benchParts(locator),
      devices: [`${device},id=${balloonId}${formatOptions(properties)}`],
      ...(chardev ? { args: ['-mon', `chardev=${benchNames.chardev},mode=control`] } : {}),
    },
    functionId: balloonId,
  }
}

/** A software balloon, which asks for memory from the beginning. @throws CommandError `locator.option` */
export function balloonModel(options: LocatorOptions): PciFunction {
  checkModelOptions('balloon', options, ['target', 'deflate-on-oom'])
  const { target: text, 'deflate-on-oom': deflate = 'on' } = options
  const target = text === undefined ? DEFAULT_TARGET : parseSize(text)
  if (target === undefined || target > MOST_TARGET)
    throw modelOptionError('balloon', 'target', 'it is a size up to 1G, e.g. 8M')
  if (deflate !== 'on' && deflate !== 'off') throw modelOptionError('balloon', 'deflate-on-oom', 'on or off')
  const model = new BalloonModel({ features: { DEFLATE_ON_OOM: deflate === 'on' } })
  model.target = Math.floor(target / PAGE)
  // Room for rings and free memory beside the balloon.
  return modelFunction(model, { ...modelFunctionOptions('balloon', options), dma: heapDma(target + 16 * MiB) })
}

/** The devices that balloond drives. */
export const balloonDevice: DeviceKind = {
  name: 'balloon',
  deviceType: DeviceType.BALLOON,
  model: async (options) => balloonModel(options),
  bench: balloonBench,
  examples: ['model:balloon', 'qemu:virtio-balloon-pci'],
}
