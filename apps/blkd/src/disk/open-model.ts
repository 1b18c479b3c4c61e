import {
  checkModelOptions,
  type LocatorOptions,
  modelFunctionOptions,
  modelOptionError,
} from '@virtio-ts/device-locator'
import { BlockModel, type ModelPciFunction, modelFunction } from '@virtio-ts/device-models'
import { parseSize } from './size.ts'

const SECTOR = 512
const DEFAULT_SIZE = 64 * 1024 * 1024
const own: readonly string[] = ['size', 'blk-size', 'read-only', 'queues', 'serial', 'discard', 'write-zeroes']

/**
 * A software disk in memory, of zeroes at first; what is written is gone with the process. Its options are described in docs/blkd.md.
 * @throws CommandError `locator.option`
 */
export function openModel(options: LocatorOptions): ModelPciFunction<BlockModel> {
  checkModelOptions('block', options, own)
  const size = options.size === undefined ? DEFAULT_SIZE : parseSize(options.size)
  if (size === undefined || size === 0 || size % SECTOR !== 0)
    throw modelOptionError('block', 'size', `it is a number of bytes, K, M, G or T, and a multiple of ${SECTOR}`)
  const blockSize = Number(options['blk-size'] ?? SECTOR)
  if (!(blockSize >= SECTOR && blockSize <= 65536 && Number.isInteger(Math.log2(blockSize))))
    throw modelOptionError('block', 'blk-size', `it is a power of 2 from ${SECTOR} to 65536`)
  const queues = Number(options.queues ?? 1)
  if (!(Number.isInteger(queues) && queues >= 1 && queues <= 64))
    throw modelOptionError('block', 'queues', 'it is a whole number from 1 to 64')
  const { serial } = options
  if (serial !== undefined && !/^[\x20-\x7e]{1,20}$/.test(serial))
    throw modelOptionError('block', 'serial', 'it has 1 to 20 characters')
  const model = new BlockModel({
    capacity: size / SECTOR,
    blockSize,
    queues,
    readOnly: isOn(options, 'read-only', false),
    features: { DISCARD: isOn(options, 'discard', true), WRITE_ZEROES: isOn(options, 'write-zeroes', true) },
    ...(serial === undefined ? {} : { id: serial }),
  })
  return modelFunction(model, modelFunctionOptions('block', options))
}

function isOn(options: LocatorOptions, key: string, otherwise: boolean): boolean {
  const value = options[key] ?? (otherwise ? 'on' : 'off')
  if (value !== 'on' && value !== 'off') throw modelOptionError('block', key, 'on or off')
  return value === 'on'
}
