import { transportSuite } from '@virtio-ts/conformance'
import { QemuBench, type QemuBenchOptions } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterAll, beforeAll, describe } from 'vitest'

interface Variant {
  readonly name: string
  readonly machine: 'q35' | 'pc'
  readonly device: string
  readonly wanted?: 'modern' | 'legacy'
  readonly legacy: boolean
  readonly interrupts: 'msix' | 'intx'
  readonly bench?: Partial<QemuBenchOptions>
}

const net = 'virtio-net-pci,netdev=n0,romfile='
const variants: readonly Variant[] = [
  { name: 'modern on q35', machine: 'q35', device: `${net},disable-legacy=on`, legacy: false, interrupts: 'msix' },
  { name: 'modern on pc', machine: 'pc', device: `${net},disable-legacy=on`, legacy: false, interrupts: 'msix' },
  {
    name: 'modern, notifications through an I/O BAR',
    machine: 'q35',
    device: `${net},modern-pio-notify=on`,
    legacy: false,
    interrupts: 'msix',
  },
  {
    name: 'modern, vectors=0',
    machine: 'q35',
    device: `${net},disable-legacy=on,vectors=0`,
    legacy: false,
    interrupts: 'intx',
  },
  {
    name: 'modern, memory above 4 GiB',
    machine: 'q35',
    device: `${net},disable-legacy=on`,
    legacy: false,
    interrupts: 'msix',
    bench: { highMemory: true },
  },
  { name: 'modern behind a root port', machine: 'q35', device: `${net},bus=rp1`, legacy: false, interrupts: 'msix' },
  { name: 'transitional as modern', machine: 'q35', device: net, legacy: false, interrupts: 'msix' },
  { name: 'transitional as legacy', machine: 'q35', device: net, wanted: 'legacy', legacy: true, interrupts: 'msix' },
  { name: 'legacy on q35', machine: 'q35', device: `${net},disable-modern=on`, legacy: true, interrupts: 'msix' },
  { name: 'legacy on pc', machine: 'pc', device: `${net},disable-modern=on`, legacy: true, interrupts: 'msix' },
  {
    name: 'legacy, vectors=0',
    machine: 'pc',
    device: `${net},disable-modern=on,vectors=0`,
    legacy: true,
    interrupts: 'intx',
  },
]

for (const { name, machine, device, wanted, legacy, interrupts, bench: options } of variants) {
  describe(`QEMU, ${name}`, () => {
    let bench: QemuBench
    beforeAll(async () => {
      const ports = device.includes('bus=rp1') ? ['pcie-root-port,id=rp1,chassis=1'] : []
      bench = await QemuBench.start({
        machine,
        devices: [...ports, `${device},id=nic`],
        netdevs: ['user,id=n0'],
        ...options,
      })
    })
    afterAll(() => bench?.close())

    transportSuite(name, {
      legacy,
      interrupts,
      open: async () => {
        const fn = bench.function('nic')
        return {
          transport: await VirtioPciDriver.attach(fn, wanted ? { interface: wanted } : {}),
          dispose: () => fn.close(),
        }
      },
    })
  })
}
