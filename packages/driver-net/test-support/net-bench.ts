import {
  type DeviceProfile,
  type ModelFunctionOptions,
  type ModelPciFunction,
  modelFunction,
  NetModel,
  type NetModelOptions,
} from '@virtio-ts/device-models'
import { type AttachOptions, VirtioPciDriver } from '@virtio-ts/transport-pci'
import { NetDriver, type NetOptions } from '../src/index.ts'

export interface ModelBench {
  readonly model: NetModel
  readonly fn: ModelPciFunction<NetModel>
  readonly driver: NetDriver
  /** Frames that came in, as copies. */
  readonly received: Uint8Array[]
  /** Frames that the device was sent. */
  readonly sent: Uint8Array[]
  /** A frame to the driver's address. */
  frame(length?: number): Uint8Array
  /** Turns of the event loop, with `poll()` and `receive()` where nobody notifies. */
  turns(count?: number): Promise<void>
}

export interface ModelBenchOptions {
  readonly profile?: DeviceProfile
  readonly on?: ModelFunctionOptions
  readonly model?: NetModelOptions
  readonly attach?: AttachOptions
  readonly options?: NetOptions
}

/** A network driver on a model, with somebody who takes what comes in. */
export async function openModelBench({
  profile,
  on = {},
  model: modelOptions = {},
  attach = {},
  options = {},
}: ModelBenchOptions = {}): Promise<ModelBench> {
  const model = new NetModel(modelOptions)
  const fn = modelFunction(model, { ...on, ...(profile && { profile }) })
  const driver = await NetDriver.open(await VirtioPciDriver.attach(fn, attach), options)
  const received: Uint8Array[] = []
  const sent: Uint8Array[] = []
  const receive = (): void => {
    do while (driver.receive((packet) => received.push(packet.toFrame()), 16) > 0);
    while (driver.armReceive())
  }
  const polled = options.interrupts === 'none'
  if (!polled) driver.onReceive(receive)
  model.onFrame((frame) => sent.push(frame))
  return {
    model,
    fn,
    driver,
    received,
    sent,
    frame(length = 100) {
      const frame = Uint8Array.from({ length }, (_, i) => i & 0xff)
      frame.set(driver.mac)
      return frame
    },
    async turns(count = 20) {
      for (let i = 0; i < count; i++) {
        if (polled) {
          driver.poll()
          receive()
        }
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
  }
}
