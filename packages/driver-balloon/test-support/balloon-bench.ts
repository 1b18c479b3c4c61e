import {
  BalloonModel,
  type BalloonModelOptions,
  type DeviceProfile,
  type ModelFunctionOptions,
  type ModelPciFunction,
  modelFunction,
} from '@virtio-ts/device-models'
import { type AttachOptions, VirtioPciDriver } from '@virtio-ts/transport-pci'
import { BalloonDriver, type BalloonOptions, DmaPageSource, type DmaPageSourceOptions } from '../src/index.ts'

export interface BalloonBench {
  readonly model: BalloonModel
  readonly fn: ModelPciFunction<BalloonModel>
  readonly source: DmaPageSource
  readonly driver: BalloonDriver
}

export interface BalloonBenchOptions {
  readonly profile?: DeviceProfile
  readonly on?: ModelFunctionOptions
  readonly model?: BalloonModelOptions
  readonly attach?: AttachOptions
  readonly source?: DmaPageSourceOptions
  readonly options?: Partial<BalloonOptions>
}

/** A balloon driver on a model, with pages from the model's own memory. */
export async function openBalloonBench(more: BalloonBenchOptions = {}): Promise<BalloonBench> {
  const model = new BalloonModel(more.model)
  const fn = modelFunction(model, { ...more.on, ...(more.profile && { profile: more.profile }) })
  const source = new DmaPageSource(fn.dma, { limit: 2000, ...more.source })
  const transport = await VirtioPciDriver.attach(fn, more.attach)
  const driver = await BalloonDriver.open(transport, { pages: source, reportInterval: 0, ...more.options })
  return { model, fn, source, driver }
}

/** Turns of the event loop. */
export async function turns(count: number = 50): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
