import { transportSuite } from '@virtio-ts/conformance'
import { modelFunction, NetModel, RngModel, strict } from '@virtio-ts/device-models'
import { DeviceStatus, NetConfig } from '@virtio-ts/spec'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { expect, it } from 'vitest'

const variants = [
  { name: 'modern', options: { interface: 'modern' }, wanted: 'auto', legacy: false, interrupts: 'msix' },
  {
    name: 'modern, structures in an I/O BAR',
    options: { capsInIoBar: true },
    wanted: 'auto',
    legacy: false,
    interrupts: 'msix',
  },
  {
    name: 'modern, one notify address',
    options: { notifyOffMultiplier: 0 },
    wanted: 'modern',
    legacy: false,
    interrupts: 'msix',
  },
  { name: 'modern, INTx', options: { msix: false }, wanted: 'auto', legacy: false, interrupts: 'intx' },
  { name: 'modern, polled', options: { msix: false, intx: false }, wanted: 'auto', legacy: false, interrupts: 'none' },
  { name: 'modern, deferred', options: { execution: 'deferred' }, wanted: 'auto', legacy: false, interrupts: 'msix' },
  {
    name: 'transitional as modern',
    options: { interface: 'transitional' },
    wanted: 'auto',
    legacy: false,
    interrupts: 'msix',
  },
  {
    name: 'transitional as legacy',
    options: { interface: 'transitional' },
    wanted: 'legacy',
    legacy: true,
    interrupts: 'msix',
  },
  { name: 'legacy', options: { interface: 'legacy' }, wanted: 'auto', legacy: true, interrupts: 'msix' },
  {
    name: 'legacy, INTx',
    options: { interface: 'legacy', msix: false },
    wanted: 'auto',
    legacy: true,
    interrupts: 'intx',
  },
] as const

for (const { name, options, wanted, legacy, interrupts } of variants) {
  transportSuite(`model, ${name}`, {
    legacy,
    interrupts,
    configBytes: 0,
    open: async () => {
      const fn = modelFunction(new RngModel(), options)
      const transport = await VirtioPciDriver.attach(fn, { interface: wanted })
      return {
        transport,
        dispose: async () => {
          await fn.close()
          // The model writes down what a driver does against the specification.
          if (fn.violations.length > 0) throw new Error(JSON.stringify(fn.violations))
        },
      }
    },
  })
}

it.each(['modern', 'legacy'] as const)(
  'a strict %s network device finds nothing wrong with how it is used',
  async (kind) => {
    const fn = modelFunction(new NetModel({ mac: '52:54:00:aa:bb:cc' }), { interface: kind, profile: strict() })
    const transport = await VirtioPciDriver.attach(fn)
    const { ACKNOWLEDGE, DRIVER, FEATURES_OK } = DeviceStatus
    await transport.reset()
    await transport.setStatus(ACKNOWLEDGE)
    await transport.setStatus(ACKNOWLEDGE | DRIVER)
    await transport.acceptFeatures((await transport.deviceFeatures()) & (transport.legacy ? 0x10020n : 0x1_0001_0020n))
    const mac = new Uint8Array(6)
    await transport.readConfig(NetConfig.MAC, mac)
    expect([...mac]).toEqual([0x52, 0x54, 0x00, 0xaa, 0xbb, 0xcc])
    const status = new Uint8Array(2)
    await transport.readConfig(NetConfig.STATUS, status)
    expect((status[0] ?? 0) & NetConfig.S_LINK_UP).toBe(NetConfig.S_LINK_UP)
    if (!transport.legacy) {
      await transport.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
      expect((await transport.status()) & FEATURES_OK).toBe(FEATURES_OK)
    }
    expect((await transport.setUpInterrupts(3, 'auto')).mode).toBe('msix')
    await transport.reset()
    await transport.close()
    await fn.close()
    expect(fn.violations).toEqual([])
  },
)
