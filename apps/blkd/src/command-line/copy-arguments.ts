import { CommandError, type ParsedArguments } from '@virtio-ts/command-line'
import type { Locator } from '@virtio-ts/device-locator'
import { parseBlockLocator } from './option-values.ts'

/** One end of a copy. */
export type CopyEnd = { readonly device: Locator } | { readonly file: string }

/** `blkd copy`, checked: at least one end is a device. */
export interface CopyArguments {
  readonly from: CopyEnd
  readonly to: CopyEnd
  /** What the ends are called, as typed. */
  readonly names: readonly [from: string, to: string]
  readonly json: boolean
}

/** What begins like a locator is one; a file of such a name is `./model:x`. */
function parseEnd(text: string): CopyEnd {
  return /^(model|qemu|vhost-user|vfio|sysfs):/.test(text) ? { device: parseBlockLocator(text) } : { file: text }
}

/** @throws CommandError `usage.*`, `locator.*` */
export function copyArguments({ flags, positionals }: ParsedArguments): CopyArguments {
  const names = [positionals[0] ?? '', positionals[1] ?? ''] as const
  const [from, to] = [parseEnd(names[0]), parseEnd(names[1])]
  if ('file' in from && 'file' in to) {
    throw new CommandError('usage.invalid-value', `neither ${names[0]} nor ${names[1]} is a device locator`, {
      why: 'one of the two is a device, e.g. qemu:virtio-blk-pci;drive=IMAGE or vhost-user:/path/to/socket',
      fix: 'blkd copy vhost-user:/run/disk.sock disk.img   (cp copies files)',
    })
  }
  return { from, to, names, json: flags.has('json') }
}
