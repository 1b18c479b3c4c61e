import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { guestProblem } from '../../scripts/guest/guest-needs.mjs'
import { requirement } from '../requirements.ts'
import { GuestNetd } from '../support/guest-netd.ts'
import type { LabNetd } from './netd/lab-netd.ts'
import { labProblem, NetdLab, type Nic } from './netd/netd-lab.ts'

const modern = 'disable-legacy=on,iommu_platform=on'
const pairs: Nic = { number: 1, place: 'addr=0x4', properties: `${modern},mq=on,vectors=6`, backend: 2 }
const plain: Nic = { number: 2, place: 'addr=0x5', properties: modern, backend: 'user' }
const address = { pairs: '0000:00:04.0', plain: '0000:00:05.0', entropy: '0000:00:06.0', disk: '0000:00:1f.2' } as const
const mac = '52:54:00:aa:bb:cc'

// Seconds where nothing else runs; minutes on a machine that has a lot to do.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 180_000 })

requirement(
  guestProblem,
  labProblem,
  'root',
  'netns',
  'tun',
)('netd on devices of a Linux guest, when something is wrong', () => {
  let lab: NetdLab
  let commands: GuestNetd
  beforeAll(async () => {
    lab = await NetdLab.boot([pairs, plain], {
      iommu: true,
      timeoutSeconds: 1200,
      qemuArguments: ['-device', `virtio-rng-pci,addr=0x6,${modern}`],
    })
    await lab.ready()
    commands = await GuestNetd.start(lab.guest)
  })
  // Both are provoked: a buffer of no length, and an address that the IOMMU knows nothing of.
  afterAll(
    () => lab?.close(/zero sized buffers|DMAR:|vtd_iova_to_slpte|vtd_iommu_translate|fault is not recorded/),
    60_000,
  )

  const driverOf = (pci: string): Promise<string> =>
    lab.shell(`basename "$(readlink /sys/bus/pci/devices/${pci}/driver || echo none)"`)

  // Fails now and then, for a reason not found yet: not part of `npm test`, and told in docs/netd.md, "Known faults".
  if (process.env['SOAK'] === '1')
    it('brings a device back that failed in the middle of a transfer, with all it was told', async () => {
      const netd = await lab.run(`vfio:${address.pairs}`, '--tap', 't1', '--queues', '2', '--mac', mac)
      await lab.lease('t1')
      const before = await lab.guest.qmp.queryRxFilter('nic1')
      expect(before['main-mac']).toBe(mac)
      const transfer = lab.transfer(pairs, 20_000_000)
      await lab.shell('until [ "$(cat /sys/class/net/t1/statistics/rx_bytes)" -gt 2000000 ]; do sleep 0.01; done')
      // On which of the two the stream arrives is the kernel's choice.
      for (const index of [0, 2]) await breakRing(netd, 'length', index)
      await netd.event('fault')
      const after = await netd.event('reset')
      expect(after).toMatchObject({ reason: 'device.needs-reset' })
      await transfer
      expect(await lab.guest.qmp.queryRxFilter('nic1')).toEqual(before)
      const { counters } = JSON.parse((await commands.run('stats', 't1', '--json')).stdout)
      expect(counters).toMatchObject({ queue_pairs: 2 })
      // The second pair's receiveq is in use again.
      expect((await lab.guest.qmp.virtioQueueStatus('nic1', 2))['vring-desc']).toBeGreaterThan(0)
      expect(await netd.end()).toBe(0)
      expect(lab.guest.qemuStderr).toContain('zero sized buffers are not allowed')
      // And nothing else.
      expect(lab.guest.complaints().filter((line) => !line.includes('zero sized buffers'))).toEqual([])
    })

  it('is stopped by the IOMMU where its descriptors lie, which does not go unnoticed', async () => {
    const netd = await lab.run(`vfio:${address.pairs}`, '--tap', 't1')
    lab.flood(await lab.lease('t1'))
    await breakRing(netd, 'address')
    await lab.guest.waitForConsole(/DMAR:.*fault addr 0xdead/)
    expect(await netd.end()).toBe(0)
    expect(await driverOf(address.pairs)).toBe('virtio-pci')
    lab.flood()
    expect(lab.guest.complaints()).toContainEqual(expect.stringContaining('fault addr 0xdead'))
  })

  /** Changes what a receiveq's descriptors say. */
  async function breakRing(netd: LabNetd, what: 'length' | 'address', index = 0): Promise<void> {
    const queue = await lab.guest.qmp.virtioQueueStatus('nic1', index)
    await lab.breakRing({ pid: netd.pid, at: queue['vring-desc'], count: queue['vring-num'], what })
  }

  it.each([
    ['an address that is none', 'vfio:00:04', 2, /not a PCI address/],
    ['a function that is not there', 'vfio:0000:00:19.0', 69, /no PCI function 0000:00:19\.0.*netd devices/s],
    ['what is no virtio device', `vfio:${address.disk}`, 69, /no virtio network device.*no virtio device at all/s],
    ['another kind of virtio device', `vfio:${address.entropy}`, 69, /virtio-rng.*netd devices/s],
    ['the same by sysfs', `sysfs:${address.entropy}`, 69, /virtio-rng/],
    ['bus addresses by sysfs', `sysfs:${address.plain}`, 69, /vfio:0000:00:05\.0/],
  ])('refuses %s', async (_, locator, code, message) => {
    const result = await commands.run('run', locator, '--tap', 't9', '--json')
    expect(result).toEqual({ code, stdout: '', stderr: expect.stringMatching(message) })
    if (locator.endsWith(address.plain)) expect(await driverOf(address.plain)).toBe('virtio-pci')
  })

  it('refuses the device that this machine is reached over, unless it is forced', async () => {
    await lab.shell('ip link set eth1 up; ip address add 10.0.2.15/24 dev eth1; ip route add default via 10.0.2.2')
    const refused = await commands.run('run', `vfio:${address.plain}`, '--tap', 't9')
    expect(refused).toMatchObject({ code: 78, stdout: '' })
    expect(refused.stderr).toMatch(/default route.*eth1.*--force/s)
    expect(await driverOf(address.plain)).toBe('virtio-pci')
    const netd = await lab.run(`vfio:${address.plain}`, '--tap', 't9', '--force')
    const second = await commands.run('run', `vfio:${address.plain}`, '--tap', 't8')
    expect(second.code).toBe(75)
    expect(second.stderr).toMatch(new RegExp(`in use by pid ${netd.pid}.*netd show`, 's'))
    expect(await netd.end()).toBe(0)
    expect(await lab.shell('ip route show default')).toBe('default via 10.0.2.2 dev eth1')
    await lab.shell('ip route del default')
  })

  it('tells a device that refuses its features, and gives it back', async () => {
    const refused = await commands.run('run', `vfio:${address.plain}`, '--tap', 't9', '--features', '-ACCESS_PLATFORM')
    expect(refused.code).toBe(69)
    expect(refused.stderr).toMatch(/ACCESS_PLATFORM/)
    expect(await driverOf(address.plain)).toBe('virtio-pci')
    expect(await lab.ping(plain, 'eth1')).toBe(true)
  })

  it('touches no device where no TAP can be made', async () => {
    await lab.shell('mv /dev/net/tun /dev/net/away')
    const refused = await commands.run('run', `vfio:${address.plain}`, '--tap', 't9')
    await lab.shell('mv /dev/net/away /dev/net/tun')
    expect(refused.code).toBe(73)
    expect(refused.stderr).toMatch(/\/dev\/net\/tun.*modprobe tun/s)
    expect(await driverOf(address.plain)).toBe('virtio-pci')
  })

  it('tells a user what is not allowed', async () => {
    const user = ['setpriv', '--reuid=1000', '--clear-groups', '--inh-caps=+net_admin', '--ambient-caps=+net_admin']
    // As udev has it.
    await lab.shell('chmod 666 /dev/net/tun')
    const run = ['netd', 'run', `vfio:${address.plain}`, '--tap', 't9']
    const nobody = await lab.guest.run([...user, ...run], { timeoutSeconds: 60 })
    expect(nobody.code).toBe(77)
    expect(nobody.stderr).toMatch(/driver of 0000:00:05\.0 may not be changed.*only root.*sudo/s)
    expect(await driverOf(address.plain)).toBe('virtio-pci')

    // Bound for that user by somebody who may: what is left is how much memory a device may reach.
    expect(await commands.run('bind', address.plain)).toMatchObject({ code: 0 })
    const group = await lab.shell(`basename "$(readlink /sys/bus/pci/devices/${address.plain}/iommu_group)"`)
    const closed = await lab.guest.run([...user, ...run], { timeoutSeconds: 60 })
    expect(closed.code).toBe(77)
    expect(closed.stderr).toContain(`chown 1000 /dev/vfio/${group}`)
    await lab.shell(`chown 1000 /dev/vfio/${group}`)
    const little = await lab.guest.run([...user, 'prlimit', '--memlock=65536', ...run], { timeoutSeconds: 60 })
    expect(little.code).toBe(77)
    expect(little.stderr).toMatch(/cannot be locked.*ulimit -l/s)
    const enough = await lab.guest.spawn(['prlimit', '--memlock=100000000', ...user, ...run, '--json'])
    await enough.waitForLine(/ready/, 60)
    enough.kill()
    expect(await enough.exited).toEqual({ code: 0, signal: null })
    // It was not that netd's to give back.
    expect(await driverOf(address.plain)).toBe('vfio-pci')
    expect(await commands.run('release', address.plain)).toMatchObject({ code: 0 })
    expect(await driverOf(address.plain)).toBe('virtio-pci')
  })
})
