import {
  BlockModel,
  type BlockModelOptions,
  type DeviceProfile,
  type ModelFunctionOptions,
  type ModelPciFunction,
  modelFunction,
} from '@virtio-ts/device-models'
import { type AttachOptions, VirtioPciDriver } from '@virtio-ts/transport-pci'
import { BlockDriver, type BlockOptions } from '../src/index.ts'

export interface BlockBench {
  readonly model: BlockModel
  readonly fn: ModelPciFunction<BlockModel>
  readonly disk: BlockDriver
}

export interface BlockBenchOptions {
  readonly profile?: DeviceProfile
  readonly on?: ModelFunctionOptions
  readonly model?: BlockModelOptions
  readonly attach?: AttachOptions
  readonly options?: BlockOptions
}

/** A block driver on a model. */
export async function openBlockBench({
  profile,
  on = {},
  model: modelOptions = {},
  attach = {},
  options = {},
}: BlockBenchOptions = {}): Promise<BlockBench> {
  const model = new BlockModel(modelOptions)
  const fn = modelFunction(model, { ...on, ...(profile && { profile }) })
  const disk = await BlockDriver.open(await VirtioPciDriver.attach(fn, attach), options)
  return { model, fn, disk }
}

/** Bytes that differ from place to place. */
export function pattern(length: number, seed: number = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) * 13 + seed * 31) & 0xff)
}

/** Turns of the event loop. */
export async function turns(count: number = 5): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}
