import { ExitCode, type Program } from '@virtio-ts/command-line'
import { blkdVersion } from '../version.ts'
import { commands } from './commands.ts'

/** The program. */
export const blkd: Program = {
  name: 'blkd',
  summary: 'a virtio block device, driven from user space: as an NBD export, as an image, measured',
  commands,
  examples: [
    ['blkd serve model:block --nbd unix:/tmp/disk.sock', 'a disk in memory, as an NBD export: no root, no QEMU'],
    ['blkd serve "qemu:virtio-blk-pci;drive=disk.img" --nbd unix:/tmp/disk.sock', 'a device of a QEMU bench'],
    ['blkd copy vhost-user:/run/disk.sock disk.img', 'a back-end’s disk into a sparse file'],
    ['blkd info vhost-user:/run/disk.sock', 'what it is'],
  ],
  version: blkdVersion,
  remedies: {
    [ExitCode.PERMISSION]: 'run it as a user who may use the device and the files that are named above',
    [ExitCode.UNAVAILABLE]: 'blkd info LOCATOR tries the device alone',
    [ExitCode.TEMPORARY]: 'start it again; if that does not help: blkd info LOCATOR',
  },
}
