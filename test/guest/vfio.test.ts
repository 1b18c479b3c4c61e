import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { DrivenGuest, GATEWAY_MAC, netDevice } from './driven-guest.ts'

const [msix, intx, packed, pastIommu, legacy, rng] = [4, 5, 6, 7, 8, 9].map((slot) => `0000:00:0${slot}.0`) as [
  string,
  string,
  string,
  string,
  string,
  string,
]
const [resettable, removable, bridge, unbound] = ['0a', '0b', '0c', '0d'].map((slot) => `0000:00:${slot}.0`) as [
  string,
  string,
  string,
  string,
]
const TRANSLATED = 'disable-legacy=on,iommu_platform=on'

requirement('guest')('VFIO in a guest with an IOMMU', () => {
  let machine: DrivenGuest

  beforeAll(async () => {
    machine = await DrivenGuest.boot({
      iommu: true,
      hugepages: 16,
      qemuArguments: [
        ...netDevice('msix', 'addr=0x4', TRANSLATED),
        ...netDevice('intx', 'addr=0x5,vectors=0', TRANSLATED),
        ...netDevice('packed', 'addr=0x6,packed=on', TRANSLATED),
        ...netDevice('past', 'addr=0x7', 'disable-legacy=on'),
        ...netDevice('legacy', 'addr=0x8', 'disable-modern=on'),
        ...['-device', `virtio-rng-pci,addr=0x9,${TRANSLATED}`],
        ...['-device', 'pcie-root-port,id=rp1,addr=0xa,chassis=1,slot=1'],
        ...netDevice('resettable', 'bus=rp1', TRANSLATED),
        ...['-device', 'pcie-root-port,id=rp2,addr=0xb,chassis=2,slot=2'],
        ...netDevice('removable', 'bus=rp2', TRANSLATED),
        ...['-device', 'pcie-pci-bridge,id=br1,addr=0xc'],
        ...['-device', 'virtio-rng-pci,bus=br1,addr=1', '-device', 'virtio-rng-pci,bus=br1,addr=2'],
        ...['-device', `virtio-rng-pci,addr=0xd,${TRANSLATED}`],
      ],
    })
    await machine.shell('modprobe -a vfio_pci vfio_iommu_type1')
    const behind = [...(await machine.behind(resettable)), ...(await machine.behind(removable))]
    await machine.bind('vfio-pci', msix, intx, packed, pastIommu, legacy, rng, ...behind)
  }, 180_000)
  afterAll(() => machine?.shutdown())

  it('§ 6.1 drives modern devices by translated addresses, with MSI-X, INTx, and a packed ring', async () => {
    const job = { job: 'net', bus: 'vfio' } as const
    const results = await machine.drive([
      { ...job, address: msix },
      { ...job, address: intx },
      { ...job, address: packed },
      { ...job, address: msix, driver: { interrupts: 'none' } },
      { ...job, address: msix, open: { hugePages: true, iova: 0x1_0000_0000 } },
      { job: 'rng', bus: 'vfio', address: rng },
    ])
    const common = { replies: 20, from: [GATEWAY_MAC], transport: 'pci-modern' }
    const given = expect.arrayContaining(['ACCESS_PLATFORM', 'VERSION_1'])
    expect(results).toMatchObject([
      { ...common, interrupts: 'msix', features: given },
      { ...common, interrupts: 'intx', features: given },
      { ...common, interrupts: 'msix', features: expect.arrayContaining(['RING_PACKED', 'ACCESS_PLATFORM']) },
      { ...common, interrupts: 'none' },
      { ...common, interrupts: 'msix' },
      { distinct: expect.any(Number) },
    ])
    expect(results[5]?.['distinct']).toBeGreaterThan(16)
    for (const { left } of results.slice(0, 5)) expect(left).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    // The first may have made Node open something of its own; no device leaves a descriptor behind.
    expect(new Set(results.slice(1).map(({ fds }) => fds)).size).toBe(1)
  })

  it('§ 6.1 drives devices past the IOMMU by physical addresses: modern, and legacy over I/O ports', async () => {
    const free = 'cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages'
    expect(await machine.shell(free)).toBe('16')
    const results = await machine.drive([
      { job: 'net', bus: 'vfio', address: pastIommu },
      { job: 'net', bus: 'vfio', address: legacy },
      { job: 'net', bus: 'vfio', address: legacy, driver: { interrupts: 'intx' } },
    ])
    expect(results).toMatchObject([
      { replies: 20, interrupts: 'msix', transport: 'pci-modern' },
      { replies: 20, interrupts: 'msix', transport: 'pci-legacy' },
      { replies: 20, interrupts: 'intx', transport: 'pci-legacy' },
    ])
    expect(results[0]?.['features']).not.toContain('ACCESS_PLATFORM')
    expect(await machine.shell(free)).toBe('16')
  })

  it('shows what a function has', async () => {
    const results = await machine.drive([
      { job: 'open', bus: 'vfio', address: msix, open: { addressSpace: 'bus' } },
      { job: 'open', bus: 'vfio', address: legacy },
    ])
    expect(results).toMatchObject([
      {
        msixVectors: 4,
        line: true,
        deviceAddress: 0x20_0000,
        bars: [
          { index: 1, kind: 'memory', length: 4096 },
          { index: 4, kind: 'memory', length: 16384 },
        ],
      },
      {
        bars: [
          { index: 0, kind: 'io', length: 32 },
          { index: 1, kind: 'memory', length: 4096 },
        ],
      },
    ])
  })

  it('resets a function behind a root port, and says so where there is no reset', async () => {
    const [address = ''] = await machine.behind(resettable)
    const results = await machine.drive([
      { job: 'reset', bus: 'vfio', address },
      { job: 'net', bus: 'vfio', address, reset: true },
      { job: 'reset', bus: 'vfio', address: msix },
    ])
    expect(results).toMatchObject([
      { command: expect.any(Number) },
      { replies: 20 },
      { error: { code: 'pci.no-reset' } },
    ])
    // Decoding is on, bus master is off.
    expect((results[0]?.['command'] as number) & 7).toBe(3)
  })

  it('P1 is killed at work, and its successor starts at once', async () => {
    const places = [msix, pastIommu].map((address) => ({ bus: 'vfio', address }) as const)
    const jobs = places.map((place) => ({ ...place, job: 'net' }) as const)
    const processes = await Promise.all(places.map((place) => machine.stay(place)))
    expect(await machine.drive(jobs)).toMatchObject(
      jobs.map(() => ({ error: { code: 'pci.in-use', message: expect.stringContaining('/dev/vfio/') } })),
    )
    for (const process of processes) process.kill('SIGKILL')
    await Promise.all(processes.map((process) => process.exited))
    expect(await machine.drive(jobs)).toMatchObject([{ replies: 20 }, { replies: 20 }])
  })

  it('does not keep a process alive that has nothing else to do', async () => {
    expect(await machine.drive([{ job: 'leave', bus: 'vfio', address: msix }], [])).toMatchObject([{ bus: 'vfio' }])
  })

  it('goes back to the kernel, which uses it, and comes again', async () => {
    await machine.shell('modprobe virtio_net')
    await machine.bind('', msix)
    expect(await machine.driverOf(msix)).toBe('virtio-pci')
    await machine.shell(`name=$(ls /sys/bus/pci/devices/${msix}/virtio*/net)
      ip address add 10.0.2.15/24 dev $name; ip link set $name up; ping -c 2 -i 0.2 -W 5 10.0.2.2; ip link set $name down`)
    const [bound] = await machine.drive([{ job: 'net', bus: 'vfio', address: msix }])
    expect(bound).toMatchObject({ error: { code: 'pci.not-bound', message: expect.stringContaining('virtio-pci') } })
    await machine.bind('vfio-pci', msix)
    expect(await machine.drive([{ job: 'net', bus: 'vfio', address: msix }])).toMatchObject([{ replies: 20 }])
  })

  describe('refuses', () => {
    it('§ 6.1 a device whose addresses are of the other kind than asked for, or not known', async () => {
      const results = await machine.drive([
        { job: 'net', bus: 'vfio', address: pastIommu, open: { addressSpace: 'bus' } },
        { job: 'net', bus: 'vfio', address: msix, open: { addressSpace: 'physical' } },
        { job: 'net', bus: 'vfio', address: msix, driver: { withoutFeatures: ['ACCESS_PLATFORM'] } },
        { job: 'net', bus: 'sysfs', address: msix },
      ])
      expect(results.map(({ error }) => error?.code)).toEqual([
        'pci.address-space',
        'pci.address-space',
        'features.access-platform',
        'pci.driver-bound',
      ])
    })

    it('§ 6.1 translated addresses through sysfs', async () => {
      await machine.unbind(unbound)
      const [result] = await machine.drive([{ job: 'rng', bus: 'sysfs', address: unbound }])
      expect(result?.error).toMatchObject({ code: 'pci.address-space', message: expect.stringContaining('vfio:') })
    })

    it('a group that a kernel driver has a part of, by name', async () => {
      const [first = '', second = ''] = await machine.behind(bridge)
      await machine.bind('vfio-pci', first)
      const [refused] = await machine.drive([{ job: 'open', bus: 'vfio', address: first }])
      expect(refused?.error?.code).toBe('pci.group-not-viable')
      expect(refused?.error?.message).toContain(`${second} (virtio-pci)`)
      await machine.bind('vfio-pci', second)
      expect(await machine.drive([{ job: 'rng', bus: 'vfio', address: first }])).toMatchObject([
        { distinct: expect.any(Number) },
      ])
    })

    it('an address that is none, a function without a driver, and addresses that are reserved', async () => {
      const results = await machine.drive([
        { job: 'open', bus: 'vfio', address: '0000:00:03.0' },
        { job: 'open', bus: 'vfio', address: unbound },
        { job: 'open', bus: 'vfio', address: rng, open: { addressSpace: 'bus', iova: 0xfee0_0000 } },
        { job: 'open', bus: 'vfio', address: rng, open: { addressSpace: 'bus', iova: 0xfee0_0000 - 0x20_0000 } },
      ])
      expect(results.map(({ error }) => error?.code)).toEqual([
        'pci.not-found',
        'pci.not-bound',
        'pci.iova-reserved',
        'pci.iova-reserved',
      ])
    })

    it('what a user may not do: open the group, lock memory, know physical addresses', async () => {
      const user = [
        'prlimit',
        '--memlock=4194304:4194304',
        'setpriv',
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
      ]
      const job = { job: 'net', bus: 'vfio', address: msix } as const
      const [closed] = await machine.drive([job], user)
      expect(closed?.error).toMatchObject({
        code: 'pci.permission',
        message: expect.stringMatching(/chown 65534 \/dev/),
      })
      await machine.shell(`for address in ${msix} ${pastIommu}
        do chown 65534 /dev/vfio/$(basename $(readlink /sys/bus/pci/devices/$address/iommu_group)); done`)
      const [large, small, physical] = await machine.drive(
        [job, { ...job, open: { memory: 2 << 20 } }, { ...job, address: pastIommu }],
        user,
      )
      expect(large?.error).toMatchObject({
        code: 'pci.memory-locked',
        message: expect.stringContaining('4194304 bytes in all'),
      })
      expect(small).toMatchObject({ replies: 20 })
      expect(physical?.error?.code).toBe('memory.no-physical-address')
    })
  })

  it('L1 lets a device go that is being unplugged', async () => {
    const [address = ''] = await machine.behind(removable)
    const process = await machine.stay({ bus: 'vfio', address })
    const deleted = machine.guest.qmp.next('DEVICE_DELETED', ({ device }) => device === 'removable')
    await machine.guest.qmp.execute('device_del', { id: 'removable' })
    const line = await process.waitForLine(/"gone"/)
    expect(JSON.parse(line).results[0]).toMatchObject({
      gone: { code: 'pci.gone', message: expect.stringContaining('unplugged') },
      fault: { code: 'device.gone' },
    })
    await deleted
    await process.exited
    expect(await machine.shell(`ls /sys/bus/pci/devices/ | grep -c ${address} || true`)).toBe('0')
    // The kernel says it again every ten seconds for as long as it waits.
    expect(machine.guest.console.match(/Relaying device request to user \(#[1-9]/)).toBeNull()
  })
})
