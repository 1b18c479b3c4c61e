import { afterAll, beforeAll, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { DrivenGuest, GATEWAY_MAC, netDevice } from './driven-guest.ts'

const [modern, legacy, uio, platform, bound] = [4, 5, 6, 7, 8].map((slot) => `0000:00:0${slot}.0`) as [
  string,
  string,
  string,
  string,
  string,
]
const PORT = '0000:00:0a.0'

requirement('guest')('sysfs in a guest without an IOMMU', () => {
  let machine: DrivenGuest

  beforeAll(async () => {
    machine = await DrivenGuest.boot({
      hugepages: 16,
      qemuArguments: [
        ...netDevice('modern', 'addr=0x4', 'disable-legacy=on'),
        ...netDevice('legacy', 'addr=0x5', 'disable-modern=on'),
        ...netDevice('uio', 'addr=0x6', 'disable-legacy=off'),
        ...netDevice('platform', 'addr=0x7', 'disable-legacy=on,iommu_platform=on'),
        ...netDevice('bound', 'addr=0x8', 'disable-legacy=on'),
        ...['-device', `pcie-root-port,id=rp1,addr=0xa,chassis=1,slot=1`],
        ...netDevice('resettable', 'bus=rp1', 'disable-legacy=on'),
      ],
    })
    await machine.shell('modprobe -a uio_pci_generic vfio_pci')
    await machine.unbind(modern, legacy, platform, ...(await machine.behind(PORT)))
    await machine.bind('uio_pci_generic', uio)
  }, 180_000)
  afterAll(() => machine?.shutdown())

  it('§ 6.1 drives modern and legacy devices by physical addresses, polled', async () => {
    const job = { job: 'net', bus: 'sysfs' } as const
    const free = 'cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages'
    expect(await machine.shell(free)).toBe('16')
    const results = await machine.drive([
      { ...job, address: modern },
      { ...job, address: legacy },
      { ...job, address: modern },
      // Offers ACCESS_PLATFORM, and no IOMMU translates: the platform's addresses are the physical ones.
      { ...job, address: platform },
    ])
    const common = { replies: 20, from: [GATEWAY_MAC], interrupts: 'none', warnings: 1 }
    expect(results).toMatchObject([
      { ...common, transport: 'pci-modern' },
      { ...common, transport: 'pci-legacy' },
      { ...common, transport: 'pci-modern' },
      { ...common, features: expect.arrayContaining(['ACCESS_PLATFORM']) },
    ])
    for (const { left } of results) expect(left).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    expect(new Set(results.slice(1).map(({ fds }) => fds)).size).toBe(1)
    expect(await machine.shell(free)).toBe('16')
  })

  it('takes INTx interrupts through uio_pci_generic, on both interfaces', async () => {
    const count = `awk '/uio_pci_generic/ { for (i = 2; i <= 3; i++) sum += $i } END { print sum + 0 }' /proc/interrupts`
    const results = await machine.drive([
      { job: 'net', bus: 'sysfs', address: uio },
      { job: 'net', bus: 'sysfs', address: uio, attach: { interface: 'legacy' } },
    ])
    expect(results).toMatchObject([
      { replies: 20, interrupts: 'intx', transport: 'pci-modern' },
      { replies: 20, interrupts: 'intx', transport: 'pci-legacy' },
    ])
    expect(Number(await machine.shell(count))).toBeGreaterThan(0)
  })

  it('shows what a function has', async () => {
    const results = await machine.drive([
      { job: 'open', bus: 'sysfs', address: legacy, open: { addressSpace: 'physical' } },
      { job: 'open', bus: 'sysfs', address: uio },
    ])
    expect(results).toMatchObject([
      {
        msixVectors: 0,
        line: false,
        bars: [
          { index: 0, kind: 'io', length: 32 },
          { index: 1, kind: 'memory', length: 4096 },
        ],
      },
      { line: true },
    ])
    expect((results[0]?.['deviceAddress'] as number) % 0x20_0000).toBe(0)
    expect(results[0]?.['deviceAddress']).not.toBe(0)
  })

  it('resets a function behind a root port, and drives it afterwards', async () => {
    const [address = ''] = await machine.behind(PORT)
    const results = await machine.drive([
      { job: 'reset', bus: 'sysfs', address },
      { job: 'net', bus: 'sysfs', address },
      { job: 'reset', bus: 'sysfs', address: modern },
    ])
    expect(results).toMatchObject([
      { command: expect.any(Number) },
      { replies: 20 },
      { error: { code: 'pci.no-reset' } },
    ])
    expect((results[0]?.['command'] as number) & 0x407).toBe(0x403)
  })

  it('P1 is killed at work, and its successor starts at once', async () => {
    const places = [modern, uio].map((address) => ({ bus: 'sysfs', address }) as const)
    const processes = await Promise.all(places.map((place) => machine.stay(place)))
    for (const process of processes) process.kill('SIGKILL')
    await Promise.all(processes.map((process) => process.exited))
    const results = await machine.drive(places.map((place) => ({ ...place, job: 'net' })))
    expect(results).toMatchObject([{ replies: 20 }, { replies: 20 }])
  })

  it('goes back to the kernel, which uses it', async () => {
    await machine.shell('modprobe virtio_net')
    await machine.bind('', modern)
    expect(await machine.driverOf(modern)).toBe('virtio-pci')
    await machine.shell(`name=$(ls /sys/bus/pci/devices/${modern}/virtio*/net)
      ip address add 10.0.2.15/24 dev $name; ip link set $name up; ping -c 2 -i 0.2 -W 5 10.0.2.2; ip link set $name down`)
    await machine.unbind(modern)
  })

  it('L2 notices at the next look that it was unplugged', async () => {
    const [address = ''] = await machine.behind(PORT)
    const process = await machine.stay({ bus: 'sysfs', address })
    await machine.guest.qmp.execute('device_del', { id: 'resettable' })
    const line = await process.waitForLine(/"gone"/)
    expect(JSON.parse(line).results[0]).toMatchObject({ gone: { code: 'pci.gone' }, fault: { code: 'device.gone' } })
    expect(await process.exited).toEqual({ code: 0, signal: null })
  })

  it('refuses what a kernel driver has, the other kind of address, no function, and VFIO without an IOMMU', async () => {
    const results = await machine.drive([
      { job: 'net', bus: 'sysfs', address: bound },
      { job: 'net', bus: 'sysfs', address: platform, open: { addressSpace: 'physical' } },
      { job: 'net', bus: 'sysfs', address: modern, open: { addressSpace: 'bus' } },
      { job: 'net', bus: 'sysfs', address: '0000:00:09.0' },
      { job: 'net', bus: 'vfio', address: modern },
      { job: 'net', bus: 'sysfs', address: modern, open: { memory: 64 << 20 } },
    ])
    expect(results.map(({ error }) => error?.code)).toEqual([
      'pci.driver-bound',
      'pci.address-space',
      'pci.address-space',
      'pci.not-found',
      'pci.no-iommu-group',
      'memory.unavailable',
    ])
    const user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    const [refused] = await machine.drive([{ job: 'net', bus: 'sysfs', address: modern }], user)
    expect(refused?.error).toMatchObject({ code: 'pci.permission', message: expect.stringContaining('root') })
  })
})
