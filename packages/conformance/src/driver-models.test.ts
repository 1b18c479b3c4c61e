import { type ModelFunctionOptions, modelFunction, NetModel, RngModel, vboxModel } from '@virtio-ts/device-models'
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
