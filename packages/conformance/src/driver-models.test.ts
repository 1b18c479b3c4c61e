import {
  BalloonModel,
  ConsoleModel,
  type ModelFunctionOptions,
  modelFunction,
  NetModel,
  RngModel,
  vboxModel,
} from '@virtio-ts/device-models'
import { BalloonDriver, balloonSpec, DmaPageSource } from '@virtio-ts/driver-balloon'
import { ConsoleDriver, consoleSpec } from '@virtio-ts/driver-console'
import { NetDriver, netSpec } from '@virtio-ts/driver-net'
import { RngDriver, rngSpec } from '@virtio-ts/driver-rng'
import { type AttachOptions, VirtioPciDriver } from '@virtio-ts/transport-pci'
import { type DriverBench, driverSuite } from './driver-suite.ts'

async function attach(fn: ReturnType<typeof modelFunction>, options: AttachOptions = {}): Promise<DriverBench> {
  return {
    transport: await VirtioPciDriver.attach(fn, options),
    violations: () => fn.violations,
    dispose: () => fn.close(),
  }
}

async function fill(driver: RngDriver): Promise<void> {
  const bytes = await driver.randomFill(new Uint8Array(64))
  if (bytes.every((byte) => byte === 0)) throw new Error('no random bytes came')
}

/** One frame out, and a look at the device: an in-process one is done before `send` returns, others are waited for. */
async function transmit(driver: NetDriver): Promise<void> {
  if (!driver.send(new Uint8Array(60))) throw new Error('the frame was not taken')
  if ((await driver.drain(5000)) > 0) throw new Error('the frame was not transmitted')
}

/** A line to the console that the device takes. */
async function writeLine(driver: ConsoleDriver): Promise<void> {
  const port = driver.port(0)
  if (!port) throw new Error('there is no console')
  await new Promise<void>((resolve, reject) => port.write('a line\n', (error) => (error ? reject(error) : resolve())))
}

/** Some pages into the balloon and out again. */
async function inflate(driver: BalloonDriver, model: BalloonModel): Promise<void> {
  for (const pages of [300, 0]) {
    await driver.report()
    model.target = pages
    const end = performance.now() + 5000
    while (driver.actual !== pages) {
      if (performance.now() > end) throw new Error(`${driver.actual} pages in the balloon, not ${pages}`)
      driver.poll()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

const interfaces: readonly (readonly [string, ModelFunctionOptions, AttachOptions])[] = [
  ['modern', {}, {}],
  ['legacy', { interface: 'legacy' }, {}],
  ['transitional', { interface: 'transitional' }, {}],
  ['transitional, by its legacy interface', { interface: 'transitional' }, { interface: 'legacy' }],
  ['modern, deferred', { execution: 'deferred' }, {}],
  ['packed', { ringFeatures: { RING_PACKED: true } }, {}],
  ['in-order', { ringFeatures: { IN_ORDER: true, NOTIFICATION_DATA: true } }, {}],
  ['packed, in-order', { ringFeatures: { RING_PACKED: true, IN_ORDER: true, NOTIFICATION_DATA: true } }, {}],
]

for (const [name, on, by] of interfaces) {
  const rounds = name === 'modern' || name === 'legacy' ? 100 : 10

  driverSuite<RngDriver>(`rng on a ${name} model`, {
    spec: rngSpec,
    attach: () => attach(modelFunction(new RngModel(), on), by),
    open: (transport, options) => RngDriver.open(transport, options),
    use: fill,
    rounds,
  })

  driverSuite<ConsoleDriver>(`console on a ${name} model`, {
    spec: consoleSpec,
    attach: () => attach(modelFunction(new ConsoleModel(), on), by),
    open: (transport, options) => ConsoleDriver.open(transport, options),
    use: writeLine,
    rounds,
  })

  let balloon: BalloonModel
  driverSuite<BalloonDriver>(`balloon on a ${name} model`, {
    spec: balloonSpec,
    attach: () => attach(modelFunction((balloon = new BalloonModel()), on), by),
    open: (transport, options) =>
      BalloonDriver.open(transport, {
        ...options,
        pages: new DmaPageSource(transport.dma),
        statistics: () => ({ free: 1 }),
      }),
    use: (driver) => inflate(driver, balloon),
    rounds,
  })

  driverSuite<NetDriver>(`net on a ${name} model`, {
    spec: netSpec,
    attach: () => attach(modelFunction(new NetModel(), on), by),
    open: (transport, options) => NetDriver.open(transport, options),
    use: transmit,
    rounds,
  })
}

driverSuite<RngDriver>('rng on a packed model with a queue of 7', {
  spec: rngSpec,
  attach: () => attach(modelFunction(new RngModel({ queueSize: 7 }), { ringFeatures: { RING_PACKED: true } })),
  open: (transport, options) => RngDriver.open(transport, options),
  use: fill,
  rounds: 10,
})

for (const version of ['4.3', '7'] as const) {
  driverSuite<NetDriver>(`net on VirtualBox ${version}`, {
    spec: netSpec,
    attach: () => attach(vboxModel(version)),
    open: (transport, options) => NetDriver.open(transport, options),
    use: transmit,
    rounds: 10,
  })
}
