import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { guestProblem } from '../../scripts/guest/guest-needs.mjs'
import { requirement } from '../requirements.ts'
import { labProblem, macOf, NetdLab, type Nic } from './netd/netd-lab.ts'

/** Behind the IOMMU, or past it. */
const modern = 'disable-legacy=on,iommu_platform=on'
const past = 'disable-legacy=on'

interface Route {
  readonly locator: string
  readonly nic: Nic
  readonly args?: readonly string[]
  readonly ready: object
  /** Features it must have, and those it must not. */
  readonly has: readonly string[]
  readonly hasNot: readonly string[]
}

const slot = (number: number): string => `addr=0x${(number + 3).toString(16)}`
const address = (number: number): string => `0000:00:${(number + 3).toString(16).padStart(2, '0')}.0`

const routes: Readonly<Record<string, Route>> = {
  'vfio: two pairs of queues, and all offloads': {
    locator: `vfio:${address(1)}`,
    nic: { number: 1, place: slot(1), properties: `${modern},mq=on,vectors=6`, backend: 2 },
    args: ['--queues', '2'],
    ready: { transport: 'pci-modern', vectors: 6 },
    has: ['ACCESS_PLATFORM', 'MQ', 'CSUM', 'HOST_TSO4', 'GUEST_TSO4', 'MRG_RXBUF'],
    hasNot: ['RING_PACKED'],
  },
  'vfio: a packed ring': {
    locator: `vfio:${address(2)}`,
    nic: { number: 2, place: slot(2), properties: `${modern},packed=on`, backend: 'user' },
    ready: { transport: 'pci-modern' },
    has: ['ACCESS_PLATFORM', 'RING_PACKED', 'EVENT_IDX'],
    hasNot: [],
  },
  'vfio: neither event index nor merged buffers': {
    locator: `vfio:${address(3)}`,
    nic: { number: 3, place: slot(3), properties: `${modern},event_idx=off,mrg_rxbuf=off`, backend: 'user' },
    ready: { transport: 'pci-modern' },
    has: ['ACCESS_PLATFORM', 'INDIRECT_DESC'],
    hasNot: ['EVENT_IDX', 'MRG_RXBUF'],
  },
  'vfio: queues of different sizes, no indirect descriptors': {
    locator: `vfio:${address(4)}`,
    // QEMU has 256 to 1024 for receiving, and no more than 256 for sending here.
    nic: {
      number: 4,
      place: slot(4),
      properties: `${modern},rx_queue_size=1024,tx_queue_size=256,indirect_desc=off`,
      backend: 'user',
    },
    ready: { transport: 'pci-modern' },
    has: ['ACCESS_PLATFORM'],
    hasNot: ['INDIRECT_DESC'],
  },
  'vfio, past the IOMMU: modern': {
    locator: `vfio:${address(5)}`,
    nic: { number: 5, place: slot(5), properties: past, backend: 'user' },
    ready: { transport: 'pci-modern' },
    has: ['VERSION_1'],
    hasNot: ['ACCESS_PLATFORM'],
  },
  'vfio, past the IOMMU: legacy, with offloads': {
    locator: `vfio:${address(6)}`,
    nic: { number: 6, place: slot(6), properties: 'disable-modern=on,disable-legacy=off', backend: 1 },
    ready: { transport: 'pci-legacy' },
    has: ['CSUM', 'HOST_TSO4'],
    hasNot: ['VERSION_1'],
  },
  'sysfs: the interrupt line of uio_pci_generic': {
    locator: `sysfs:${address(7)}`,
    nic: { number: 7, place: slot(7), properties: past, backend: 'user' },
    ready: { transport: 'pci-modern', vectors: 0 },
    has: ['VERSION_1'],
    hasNot: ['ACCESS_PLATFORM'],
  },
  'sysfs: no driver and no interrupts': {
    locator: `sysfs:${address(8)}`,
    nic: { number: 8, place: slot(8), properties: past, backend: 'user' },
    args: ['--poll'],
    ready: { transport: 'pci-modern', vectors: 0 },
    has: ['VERSION_1'],
    hasNot: ['ACCESS_PLATFORM'],
  },
}

// Seconds where nothing else runs; minutes on a machine that has a lot to do.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 180_000 })

requirement(
  guestProblem,
  labProblem,
  'root',
  'netns',
  'tun',
)('netd on devices of a Linux guest', () => {
  let lab: NetdLab
  beforeAll(async () => {
    const nics = Object.values(routes).map(({ nic }) => nic)
    lab = await NetdLab.boot(nics, { iommu: true, hugepages: 80, timeoutSeconds: 1200 })
    await lab.ready()
  })
  afterAll(() => lab?.close())

  const interfaceOf = (pci: string): Promise<string> => lab.shell(`ls /sys/bus/pci/devices/${pci}/virtio*/net`)
  const driverOf = (pci: string): Promise<string> =>
    lab.shell(`basename "$(readlink /sys/bus/pci/devices/${pci}/driver || echo none)"`)

  it.each(Object.entries(routes))('%s', async (_, { locator, nic, args = [], ready, has, hasNot }) => {
    const pci = locator.replace(/^\w+:/, '')
    const before = await interfaceOf(pci)
    const netd = await lab.run(locator, '--tap', 't0', ...args)
    const event = await netd.event('ready')
    expect(event).toMatchObject({ device: locator, tap: 't0', mac: macOf(nic), ...ready })
    expect(event['features']).toEqual(expect.arrayContaining([...has]))
    for (const feature of hasNot) expect(event['features']).not.toContain(feature)
    const driver = locator.startsWith('vfio') ? 'vfio-pci' : args.includes('--poll') ? 'none' : 'uio_pci_generic'
    expect(await driverOf(pci)).toBe(driver)
    expect(netd.stderr.includes('is driven without an IOMMU')).toBe(locator.startsWith('sysfs'))

    expect(await lab.lease('t0')).toMatch(new RegExp(`^10\\.0\\.${nic.number}\\.`))
    expect(await lab.ping(nic, 't0')).toBe(true)
    await lab.transfer(nic, 20_000_000)
    if (nic.backend !== 'user') await expectSegments(`q${nic.number}`)

    expect(await netd.end()).toBe(0)
    expect(netd.events.map((each) => each.event)).toEqual(['ready', 'stopped'])
    expect(await driverOf(pci)).toBe('virtio-pci')
    expect(await interfaceOf(pci)).toBe(before)
  })

  /** Frames longer than any on a wire went over the cable, both ways. */
  async function expectSegments(name: string): Promise<void> {
    const [link] = JSON.parse(lab.namespace.run('ip', '-json', '-stats', 'link', 'show', name)) as {
      readonly stats64: Record<'rx' | 'tx', { readonly bytes: number; readonly packets: number }>
    }[]
    if (link === undefined) throw new Error(`no ${name}`)
    // Acknowledgements of the other direction count, too.
    const { rx, tx } = link.stats64
    expect(rx.bytes / rx.packets).toBeGreaterThan(1514)
    expect(tx.bytes / tx.packets).toBeGreaterThan(1514)
  }
})
