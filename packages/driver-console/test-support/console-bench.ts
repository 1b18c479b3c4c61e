import {
  ConsoleModel,
  type ConsoleModelOptions,
  type DeviceProfile,
  type ModelFunctionOptions,
  type ModelPciFunction,
  modelFunction,
} from '@virtio-ts/device-models'
import { type AttachOptions, VirtioPciDriver } from '@virtio-ts/transport-pci'
import { ConsoleDriver, type ConsoleOptions, type ConsolePort } from '../src/index.ts'

export interface ConsoleBench {
  readonly model: ConsoleModel
  readonly fn: ModelPciFunction<ConsoleModel>
  readonly driver: ConsoleDriver
  /** @throws Error when there is no such port */
  port(idOrName?: number | string): ConsolePort
}

export interface ConsoleBenchOptions {
  readonly profile?: DeviceProfile
  readonly on?: ModelFunctionOptions
  readonly model?: ConsoleModelOptions
  readonly attach?: AttachOptions
  readonly options?: ConsoleOptions
}

/** A console driver on a model. */
export async function openConsoleBench(more: ConsoleBenchOptions = {}): Promise<ConsoleBench> {
  const model = new ConsoleModel(more.model)
  const fn = modelFunction(model, { ...more.on, ...(more.profile && { profile: more.profile }) })
  const driver = await ConsoleDriver.open(await VirtioPciDriver.attach(fn, more.attach), more.options)
  return {
    model,
    fn,
    driver,
    port(idOrName = 0) {
      const port = driver.port(idOrName)
      if (!port) throw new Error(`the driver has no port ${idOrName}`)
      return port
    },
  }
}

/** Turns of the event loop. */
export async function turns(count: number = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
export const bytesOf = (string: string): Uint8Array => new TextEncoder().encode(string)

/** Writes, and waits until the device has been given all of it. */
export function written(port: ConsolePort, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => void port.write(bytes, (error) => (error ? reject(error) : resolve())))
}
