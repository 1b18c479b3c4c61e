import { closeSync, openSync, readSync } from 'node:fs'
import { CommandError } from '@virtio-ts/command-line'
import {
  alreadyBound,
  type BenchPlan,
  benchNames,
  benchParts,
  type DeviceKind,
  formatOptions,
  type LocatorOptions,
  type QemuLocator,
} from '@virtio-ts/device-locator'
import { DeviceType } from '@virtio-ts/spec'

export interface BlockDeviceOptions {
  /** Nothing will be written: a bench opens its image so, where the locator does not say otherwise. @defaultValue false */
  readonly readOnly?: boolean
}

/** The id of the bench's disk. */
const diskId = 'disk0'

/** The devices that blkd drives. */
export function blockDevice(options: BlockDeviceOptions = {}): DeviceKind {
  return {
    name: 'block',
    deviceType: DeviceType.BLOCK,
    model: async (own) => (await import('./open-model.ts')).openModel(own),
    bench: (locator) => blockBench(locator, options),
    hostFunction: alreadyBound,
    examples: ['model:block', 'qemu:virtio-blk-pci;drive=IMAGE', 'vhost-user:/path/to/socket', 'vfio:0000:00:05.0'],
  }
}

function blockBench(locator: QemuLocator, { readOnly = false }: BlockDeviceOptions): BenchPlan {
  const { device, properties, drive } = locator
  if (drive === undefined) {
    throw new CommandError('locator.option', `qemu:${device} has no disk image`, {
      why: 'a block device of a bench needs something to keep its blocks in',
      fix: `qemu:${device};drive=IMAGE   (in quotes: the shell takes the semicolon for its own)`,
    })
  }
  const options = driveOptions(drive.path, drive.options, readOnly)
  return {
    options: {
      ...benchParts({ ...locator, drive: { ...drive, options } }),
      devices: [`${device},id=${diskId},drive=${benchNames.drive}${formatOptions(properties)}`],
    },
    functionId: diskId,
  }
}

/**
 * What the locator says, and what it takes for granted: a raw image, because QEMU's guess could be steered by what is written to the image, and
 * discards that reach it.
 */
function driveOptions(path: string, given: LocatorOptions, readOnly: boolean): LocatorOptions {
  if (given.format === undefined && isQcow2(path)) {
    throw new CommandError('locator.option', `${path} looks like a qcow2 image, and its format is not stated`, {
      why: 'taken for a raw image its first write would destroy it; taken for qcow2 whoever writes to a raw image decides what it is',
      fix: `;drive=${path},format=qcow2   (or format=raw)`,
    })
  }
  return { format: 'raw', discard: 'unmap', ...(readOnly ? { readonly: 'on' } : {}), ...given }
}

function isQcow2(path: string): boolean {
  const magic = Buffer.alloc(4)
  try {
    const file = openSync(path, 'r')
    try {
      readSync(file, magic, 0, magic.length, 0)
    } finally {
      closeSync(file)
    }
  } catch {
    // QEMU says why it cannot be had.
    return false
  }
  return magic.equals(Buffer.from([0x51, 0x46, 0x49, 0xfb]))
}
