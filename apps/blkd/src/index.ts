/**
 * The parts of blkd that other programs can use: a block device as an NBD export. The program itself is `bin/blkd.js`.
 * @packageDocumentation
 */
export { blockExport, type BlockExportOptions } from './disk/block-export.ts'
export { blockDevice, type BlockDeviceOptions } from './disk/block-device.ts'
export { Disk, type DiskEvent, type DiskOptions } from './disk/disk.ts'
