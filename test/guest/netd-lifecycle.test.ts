import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { guestProblem } from '../../scripts/guest/guest-needs.mjs'
import { requirement } from '../requirements.ts'
import type { LabNetd } from './netd/lab-netd.ts'
import { labProblem, NetdLab, type Nic } from './netd/netd-lab.ts'

const modern = 'disable-legacy=on,iommu_platform=on'
/** Fewer while something else is looked at: CYCLES=4. */
const cycles = Number(process.env['CYCLES'] ?? 50)
/** Behind a port that devices can be unplugged from, on a cable with offloads. */
const removable: Nic = { number: 1, place: 'bus=rp1', properties: modern, backend: 1 }
const fixed: Nic = { number: 2, place: 'addr=0x5', properties: modern, backend: 1 }
const rootPort = ['-device', 'pcie-root-port,id=rp1,slot=1,addr=0x4']
const addresses = { 1: '0000:01:00.0', 2: '0000:00:05.0' } as const

// Seconds where nothing else runs; minutes on a machine that has a lot to do.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 180_000 })

requirement(
  guestProblem,
  labProblem,
  'root',
  'netns',
  'tun',
)('netd and a device of a Linux guest, again and again', () => {
  let lab: NetdLab
  beforeAll(async () => {
    lab = await NetdLab.boot([removable, fixed], {
      iommu: true,
      qemuArguments: rootPort,
      timeoutSeconds: 3600,
    })
    await lab.ready()
  })
  afterAll(() => lab?.close())

  const pci = ({ number }: Nic): string => addresses[number as 1 | 2]
  const locator = (nic: Nic): string => `vfio:${pci(nic)}`
  const nameOf = (nic: Nic): Promise<string> => lab.shell(`ls /sys/bus/pci/devices/${pci(nic)}/virtio*/net`)
  /** Everything that an administrator has given to an interface; not whether it has carrier, which takes a moment. */
  const stateOf = (name: string): Promise<string> =>
    lab.shell(
      `ip -br address show ${name} | awk '{ $2 = ""; print }'; ip route show dev ${name}; ip neigh show dev ${name} nud permanent`,
    )

  /** The kernel's driver has it, with an address and a route. */
  async function configure(nic: Nic): Promise<{ name: string; state: string }> {
    const name = await nameOf(nic)
    const { number } = nic
    await lab.shell(`
      ip address flush dev ${name}
      ip address add 10.0.${number}.15/24 dev ${name}
      ip link set ${name} up
      ip route add 172.16.${number}.0/24 via 10.0.${number}.2`)
    return { name, state: await stateOf(name) }
  }

  /** netd's interface gets the address. */
  async function take(nic: Nic, ...args: readonly string[]): Promise<LabNetd> {
    const netd = await lab.run(locator(nic), '--tap', `t${nic.number}`, ...args)
    await lab.shell(`ip address add 10.0.${nic.number}.15/24 dev t${nic.number}`)
    return netd
  }

  /** Waits until frames of the flood have arrived. */
  const flooded = (name: string): Promise<string> =>
    lab.shell(`until [ "$(cat /sys/class/net/${name}/statistics/rx_packets)" -gt 100 ]; do sleep 0.05; done`)

  it(`starts and stops ${cycles} times under traffic; each time the kernel has its interface back as it was`, async () => {
    lab.flood('10.0.1.15', '10.0.2.15')
    const lane = async (nic: Nic): Promise<void> => {
      const { name, state } = await configure(nic)
      for (let cycle = 0; cycle < cycles / 2; cycle++) {
        const netd = await take(nic)
        await flooded(`t${nic.number}`)
        expect(await lab.ping(nic, `t${nic.number}`)).toBe(true)
        expect({ code: await netd.end(), stderr: netd.stderr }).toEqual({ code: 0, stderr: '' })
        expect(await nameOf(nic)).toBe(name)
        expect(await stateOf(name)).toBe(state)
        expect(await lab.ping(nic, name)).toBe(true)
      }
    }
    await Promise.all([removable, fixed].map(lane))
    lab.flood()
  }, 1_500_000)

  it(`is killed ${cycles} times while frames arrive, and starts again each time; nobody's memory is written to`, async () => {
    const { name, state } = await configure(fixed)
    const flood = (): void => lab.flood('10.0.2.15')
    flood()
    for (let cycle = 0; cycle < cycles; cycle++) {
      const netd = await take(fixed)
      await flooded('t2')
      expect(await netd.end('SIGKILL')).toBe('SIGKILL')
      if (cycle % 10 === 0) expect(await lab.canary('ordinary', flood)).toMatchObject({ changed: 0 })
    }
    const netd = await take(fixed)
    expect(await lab.ping(fixed, 't2')).toBe(true)
    lab.flood()
    expect(await netd.end()).toBe(0)
    // What the first of them was given is what the kernel has again.
    expect(await nameOf(fixed)).toBe(name)
    expect(await stateOf(name)).toBe(state)
    expect(lab.guest.complaints()).toEqual([])
  }, 1_500_000)

  it('lets go of a device that is unplugged under load, and ends', async () => {
    const netd = await take(removable)
    lab.flood('10.0.1.15')
    await flooded('t1')
    const elapsed = await unplug()
    expect(await netd.exited).toBe(69)
    expect(netd.events).toContainEqual(expect.objectContaining({ event: 'fault', code: 'device.gone' }))
    expect(netd.stderr).toContain('unplugged')
    expect(await lab.shell('ls /run/virtio-ts/taken/*.json 2>/dev/null || echo none')).toBe('none')
    expect(elapsed).toBeLessThan(1000)
  })

  it('waits for a device that is unplugged, and goes on with it when it is plugged in again', async () => {
    await plugIn()
    const netd = await take(removable, '--wait')
    lab.flood('10.0.1.15')
    await flooded('t1')
    await unplug()
    await netd.event('fault')
    expect(await lab.shell('cat /sys/class/net/t1/carrier')).toBe('0')
    await plugIn()
    await netd.event('reset')
    lab.flood()
    expect(await lab.shell('cat /sys/class/net/t1/carrier')).toBe('1')
    expect(await lab.ping(removable, 't1')).toBe(true)
    await lab.transfer(removable, 1_000_000)
    expect(await netd.end()).toBe(0)
    expect(await lab.shell(`basename "$(readlink /sys/bus/pci/devices/${pci(removable)}/driver)"`)).toBe('virtio-pci')
  })

  /** @returns milliseconds until the kernel had let it go */
  async function unplug(): Promise<number> {
    const { qmp } = lab.guest
    const deleted = qmp.next('DEVICE_DELETED', ({ device }) => device === 'nic1', { timeout: 30_000 })
    const start = performance.now()
    await qmp.deviceDel('nic1')
    await deleted
    return performance.now() - start
  }

  /** Waits until the kernel has it. */
  async function plugIn(): Promise<void> {
    await lab.guest.qmp.deviceAdd(lab.deviceOf(removable))
    await lab.shell(`until [ -e /sys/bus/pci/devices/${pci(removable)}/driver ]; do sleep 0.05; done`)
  }
})
