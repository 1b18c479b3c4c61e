import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { guestProblem } from '../../scripts/guest/guest-needs.mjs'
import { requirement } from '../requirements.ts'
import { GuestNetd } from '../support/guest-netd.ts'
import { labProblem, NetdLab, type Nic } from './netd/netd-lab.ts'

const nic: Nic = { number: 1, place: 'addr=0x4', properties: 'disable-legacy=on', backend: 1 }
const address = '0000:00:04.0'
const kills = 10

// Seconds where nothing else runs; minutes on a machine that has a lot to do.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 180_000 })

requirement(
  guestProblem,
  labProblem,
  'root',
  'netns',
  'tun',
)('netd in a Linux guest without an IOMMU', () => {
  let lab: NetdLab
  let commands: GuestNetd
  beforeAll(async () => {
    lab = await NetdLab.boot([nic], { hugepages: 80, timeoutSeconds: 1200 })
    await lab.ready()
    commands = await GuestNetd.start(lab.guest)
  })
  afterAll(() => lab?.close())

  const driver = (): Promise<string> =>
    lab.shell(`basename "$(readlink /sys/bus/pci/devices/${address}/driver || echo none)"`)

  it('says what vfio: lacks', async () => {
    const refused = await commands.run('run', `vfio:${address}`, '--tap', 't1')
    expect(refused.code).toBe(69)
    expect(refused.stderr).toMatch(/no IOMMU.*intel_iommu=on/s)
    expect(refused.stderr).toContain(`sysfs:${address}`)
    expect(await driver()).toBe('virtio-pci')
  })

  it('says what is lacking where there are no huge pages', async () => {
    await lab.shell('echo 0 > /proc/sys/vm/nr_hugepages')
    const refused = await commands.run('run', `sysfs:${address}`, '--tap', 't1')
    await lab.shell('echo 80 > /proc/sys/vm/nr_hugepages')
    expect(refused.code).toBe(75)
    expect(refused.stderr).toMatch(/32 huge pages.*vm\.nr_hugepages=/s)
    expect(await driver()).toBe('virtio-pci')
  })

  it('polls where there is no uio_pci_generic', async () => {
    await lab.shell(
      'modprobe -r uio_pci_generic || true; mkdir -p /root/away; mv /lib/modules/*/kernel/drivers/uio/uio_pci_generic.ko* /root/away/',
    )
    const netd = await lab.run(`sysfs:${address}`, '--tap', 't1')
    expect(await driver()).toBe('none')
    expect(netd.stderr).toMatch(/driven without an IOMMU/)
    expect(netd.stderr).toMatch(/no interrupts here/)
    await lab.lease('t1')
    expect(await lab.ping(nic, 't1')).toBe(true)
    expect(await netd.end()).toBe(0)
    expect(await driver()).toBe('virtio-pci')
    await lab.shell('mv /root/away/* /lib/modules/*/kernel/drivers/uio/')
  })

  it(`is killed ${kills} times while frames arrive: the device writes to nobody else's memory`, async () => {
    const flood = (): void => lab.flood('10.0.1.15')
    for (let kill = 0; kill < kills; kill++) {
      // uio_pci_generic stops the device when its file is closed; without a driver nobody does.
      const route = kill % 5 === 3 ? [] : ['--poll']
      const netd = await lab.run(`sysfs:${address}`, '--tap', 't1', ...route)
      flood()
      await lab.shell(`ip address add 10.0.1.15/24 dev t1
        until [ "$(cat /sys/class/net/t1/statistics/rx_packets)" -gt 100 ]; do sleep 0.05; done`)
      // It is to have buffers left that it may write to.
      lab.flood()
      await lab.ping(nic, 't1')
      expect(await netd.end('SIGKILL')).toBe('SIGKILL')
      // What arrives is written to the buffers it was given.
      const { mebibytes, changed } = await lab.canary(kill % 5 === 4 ? 'ordinary' : 'huge', flood)
      expect(mebibytes).toBeGreaterThan(0)
      // A device that found the canary's bytes where its ring was would have QEMU complain, too.
      expect(changed).toBe(0)
      expect(lab.guest.complaints()).toEqual([])
      lab.flood()
    }
    lab.flood()
    expect(await commands.run('release', address)).toMatchObject({ code: 0 })
    expect(await driver()).toBe('virtio-pci')
  })
})
