import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { bootGuest, type Guest } from '../../scripts/guest/linux-guest.mjs'
import { requirement } from '../requirements.ts'
import { GuestNetd, type NetdResult } from '../support/guest-netd.ts'

/** The one that this guest is reached over, as it were: it has the default route. */
const routed = '0000:00:03.0'
const spare = '0000:00:04.0'
const entropy = '0000:00:05.0'

const nic = (id: string, slot: string, mac: string, net: string): readonly string[] => [
  ...['-netdev', `user,id=${id},restrict=on,ipv6=off,net=${net}`],
  '-device',
  `virtio-net-pci,netdev=${id},addr=${slot},mac=${mac},iommu_platform=on,disable-legacy=on,romfile=`,
]

interface Check {
  readonly id: string
  readonly status: string
  readonly summary: string
  readonly fix?: string
}

requirement('guest')('taking devices over in a Linux guest', () => {
  let guest: Guest
  let commands: GuestNetd

  /** Runs commands of the shell. @throws when one fails */
  async function shell(script: string): Promise<string> {
    const { code, stdout, stderr } = await guest.run(['sh', '-euc', script])
    if (code !== 0) throw new Error(`${script}: ${code} ${stderr}`)
    return stdout.trim()
  }

  const netd = (...args: readonly string[]): Promise<NetdResult> => commands.run(...args)

  const driver = (address: string): Promise<string> =>
    shell(`basename "$(readlink /sys/bus/pci/devices/${address}/driver || echo none)"`)

  const override = (address: string): Promise<string> => shell(`cat /sys/bus/pci/devices/${address}/driver_override`)

  /** Everything iproute2 says of interfaces, addresses and routes, but for numbers that no interface keeps. */
  async function network(): Promise<unknown> {
    const text = await shell(
      'echo "[$(ip -json address), $(ip -json -4 route show table all), $(ip -json -6 route show table all)]"',
    )
    const volatile = new Set(['ifindex', 'parentdev', 'qdisc'])
    const [addresses, ...routes] = JSON.parse(text, (key, value) => (volatile.has(key) ? undefined : value)) as {
      readonly ifname: string
    }[][]
    const byText = (a: unknown, b: unknown): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)
    return { addresses: addresses?.toSorted(byText), routes: routes.map((each) => each.toSorted(byText)) }
  }

  const ping = async (from: string, to: string): Promise<number | null> =>
    (await guest.run(['ping', '-c', '1', '-W', '5', '-I', from, to])).code

  beforeAll(async () => {
    guest = await bootGuest({
      // Half a minute where nothing else runs.
      timeoutSeconds: 300,
      iommu: true,
      hugepages: 8,
      qemuArguments: [
        ...nic('n0', '0x3', '52:54:00:00:00:03', '10.0.2.0/24'),
        ...nic('n1', '0x4', '52:54:00:00:00:04', '10.0.3.0/24'),
        ...['-device', `virtio-rng-pci,addr=0x5,iommu_platform=on,disable-legacy=on`],
      ],
    })
    await shell(`
      # Addresses are used at once, and not when a second has shown that nobody else has them.
      echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
      modprobe -a virtio_net tun uio_pci_generic
      ip address add 10.0.2.15/24 dev eth0
      ip link set eth0 up
      ip route add default via 10.0.2.2 metric 100
      ip link set eth1 name spare0 mtu 1400 address 02:00:00:00:00:77
      ip address add 10.0.3.15/24 broadcast + dev spare0
      ip address add 10.0.3.16/24 dev spare0 label spare0:1
      ip link set spare0 up
      ip -6 address add fd03::15/64 dev spare0
      ip route add 192.168.0.0/16 via 10.0.3.2 src 10.0.3.16 mtu 1300
      ip route add 10.77.0.1 dev spare0 scope link table 100
      ip -6 route add fd99::/16 via fd03::2 metric 7`)
    commands = await GuestNetd.start(guest)
  }, 180_000)
  afterAll(() => guest.shutdown())

  it('devices tells the truth', async () => {
    const { code, stdout } = await netd('devices', '--json')
    expect(code).toBe(0)
    const devices = JSON.parse(stdout) as { readonly address: string }[]
    const about = (address: string): unknown => devices.find((each) => each.address === address)
    const group = async (address: string): Promise<number> =>
      Number(await shell(`basename "$(readlink /sys/bus/pci/devices/${address}/iommu_group)"`))
    expect(about(routed)).toMatchObject({
      label: 'virtio-net',
      generation: 'modern',
      driver: 'virtio-pci',
      iommuGroup: await group(routed),
      groupMembers: [],
      taken: null,
      interfaces: [{ name: 'eth0', up: true, defaultRoute: true, mac: '52:54:00:00:00:03', mtu: 1500 }],
      needs: expect.arrayContaining(['--force: a default route of this machine goes over eth0']),
    })
    expect(about(spare)).toMatchObject({
      iommuGroup: await group(spare),
      interfaces: [
        {
          name: 'spare0',
          up: true,
          defaultRoute: false,
          mac: '02:00:00:00:00:77',
          mtu: 1400,
          addresses: ['10.0.3.15/24', '10.0.3.16/24', 'fd03::15/64', 'fe80::ff:fe00:77/64'],
          routes: ['10.77.0.1 table 100', '192.168.0.0/16 via 10.0.3.2', 'fd99::/16 via fd03::2'],
        },
      ],
      needs: expect.arrayContaining([`its driver changed from virtio-pci to vfio-pci: sudo netd bind ${spare}`]),
    })
    expect(about(entropy)).toMatchObject({ label: 'virtio-rng', needs: [] })
  })

  it('bind refuses what would cut the machine off, what is no NIC, and who is not root, and changes nothing', async () => {
    const before = await network()
    const refused = await guest.run(['netd', 'bind', routed])
    expect(refused.code).toBe(78)
    expect(refused.stderr).toContain(`a default route of this machine goes over eth0, which is ${routed}`)
    expect(refused.stderr).toContain('fix: --force')
    expect((await netd('bind', entropy)).code).toBe(69)
    expect((await netd('bind', '0000:00:09.0')).code).toBe(69)
    expect((await netd('bind', '../03.0')).code).toBe(2)
    const user = await guest.run(['setpriv', '--reuid=1000', '--clear-groups', 'netd', 'bind', spare])
    expect(user.code).toBe(77)
    expect(user.stderr).toContain('sudo')
    expect(await network()).toEqual(before)
    expect(await driver(routed)).toBe('virtio-pci')
    expect(await override(routed)).toBe('(null)')
    expect(await override(spare)).toBe('(null)')
  })

  it('bind gives it to vfio-pci, which is loaded for that, and release brings everything back', async () => {
    const before = await network()
    expect(await shell('lsmod')).not.toContain('vfio_pci')
    const bound = await netd('bind', spare, '--json')
    expect({ ...bound, stderr: '' }).toMatchObject({ code: 0 })
    expect(JSON.parse(bound.stdout)).toEqual({
      address: spare,
      driver: 'vfio-pci',
      formerDriver: 'virtio-pci',
      interfaces: ['spare0'],
    })
    expect(await driver(spare)).toBe('vfio-pci')
    const entry = `/run/virtio-ts/taken/${spare}.json`
    expect(await shell(`stat -c '%a %u' ${entry} /run/virtio-ts/taken; ls /sys/class/net`)).toBe(
      '600 0\n700 0\neth0\nlo',
    )
    expect((await netd('devices')).stdout).toContain('taken: from virtio-pci, where it was spare0')
    // A user-space driver has it open: no release now.
    const group = await shell(`basename "$(readlink /sys/bus/pci/devices/${spare}/iommu_group)"`)
    const user = await guest.spawn(['sh', '-c', `exec 3<>/dev/vfio/${group}; echo open; exec sleep 60`])
    await user.waitForLine(/open/)
    const busy = await netd('release', spare)
    expect(busy.code).toBe(75)
    expect(busy.stderr).toContain(`in use by sleep (pid ${user.pid})`)
    user.kill('SIGKILL')
    await user.exited
    const released = await netd('release', spare)
    expect(released).toEqual({ code: 0, stdout: '', stderr: `netd: ${spare} is back: virtio-pci, spare0\n` })
    expect(await network()).toEqual(before)
    expect(await override(spare)).toBe('(null)')
    expect(await shell(`ls ${entry} 2>/dev/null || echo gone`)).toBe('gone')
    expect(await ping('spare0', '10.0.3.2')).toBe(0)
    expect(await netd('release', spare)).toMatchObject({ code: 0 })
  })

  it('by force, the one with the default route comes back with it', async () => {
    const before = await network()
    expect(await netd('bind', routed, '--force')).toMatchObject({ code: 0 })
    expect(await shell('ip route show default')).toBe('')
    expect(await netd('release', `vfio:${routed}`)).toMatchObject({ code: 0 })
    expect(await network()).toEqual(before)
    expect(await ping('eth0', '10.0.2.2')).toBe(0)
  })

  it('binds to uio_pci_generic, and to no driver at all', async () => {
    const before = await network()
    expect(await netd('bind', spare, '--driver', 'uio_pci_generic')).toMatchObject({ code: 0 })
    expect(await shell('ls /dev/uio0')).toBe('/dev/uio0')
    expect(await netd('bind', spare, '--driver', 'none')).toMatchObject({ code: 0 })
    expect(await driver(spare)).toBe('none')
    await shell(`echo ${spare} > /sys/bus/pci/drivers_probe || true`)
    expect(await driver(spare)).toBe('none')
    expect(await netd('release', spare)).toMatchObject({ code: 0 })
    expect(await network()).toEqual(before)
  })

  it('a netd that is killed while it has a device: refused before, released afterwards', async () => {
    const before = await network()
    const module = '/virtio-ts/apps/netd/dist/takeover/take-over.js'
    const program = `import('${module}').then(async ({ takeOver }) => {
      const taken = await takeOver('${spare}', { purpose: 'netd run vfio:${spare}' })
      console.log('taken')
      process.stdin.once('end', () => taken.giveBack().then(() => process.exit(0))).resume()
    })`
    // With no more than the service may do: systemd loads modules for it.
    await shell('modprobe -a vfio_pci vfio_iommu_type1')
    const unit = readFileSync(new URL('../../apps/netd/systemd/netd@.service', import.meta.url), 'utf8')
    const capabilities = (/^CapabilityBoundingSet=(.*)$/m.exec(unit)?.[1] ?? '').split(' ')
    expect(capabilities).toContain('CAP_NET_ADMIN')
    const bounded = ['-all', ...capabilities.map((name) => name.replace('CAP_', '+').toLowerCase())].join(',')
    const service = ['setpriv', '--bounding-set', bounded, '--no-new-privs', 'node', '-e', program]
    const first = await guest.spawn(service, { stdin: true })
    await first.waitForLine(/taken/)
    const refused = await netd('release', spare)
    expect(refused.code).toBe(75)
    expect(refused.stderr).toContain(`in use by pid ${first.pid}: netd run vfio:${spare}`)
    first.kill('SIGKILL')
    await first.exited
    expect(await driver(spare)).toBe('vfio-pci')
    // The next one takes it on, and gives back what the first one took.
    const second = await guest.spawn(service, { stdin: true })
    await second.waitForLine(/taken/)
    second.endInput()
    expect(await second.exited).toEqual({ code: 0, signal: null })
    expect(await network()).toEqual(before)
    // In the middle of giving back: no driver has it, and its override is still there.
    expect(await netd('bind', spare)).toMatchObject({ code: 0 })
    await shell(`echo ${spare} > /sys/bus/pci/drivers/vfio-pci/unbind`)
    expect(await netd('release', spare)).toMatchObject({ code: 0 })
    expect(await network()).toEqual(before)
    expect(await ping('spare0', '10.0.3.2')).toBe(0)
  })

  it('doctor is content with this machine, and knows what mends what is taken away', async () => {
    const checks = async (): Promise<ReadonlyMap<string, Check>> => {
      const { stdout } = await netd('doctor', '--json')
      return new Map((JSON.parse(stdout) as { checks: Check[] }).checks.map((each) => [each.id, each]))
    }
    await shell('modprobe vfio_pci; modprobe vfio_iommu_type1')
    const healthy = await checks()
    const relevant = ['platform', 'node', 'koffi', 'tun', 'permission', 'hugepages', 'memlock', 'iommu']
    relevant.push('vfio', 'vfio-groups', 'binding', 'ip', 'uio', 'pagemap', 'ptrace')
    for (const id of relevant) expect([id, healthy.get(id)]).toEqual([id, expect.objectContaining({ status: 'pass' })])

    await shell('rmmod tun; rmmod uio_pci_generic; rmmod vfio_iommu_type1; rm -f /dev/net/tun')
    await shell('echo 0 > /proc/sys/vm/nr_hugepages')
    const broken = await checks()
    expect(broken.get('tun')).toMatchObject({ status: 'fail', fix: expect.stringMatching(/^sudo modprobe tun/) })
    expect(broken.get('uio')).toMatchObject({ status: 'warn', fix: 'sudo modprobe uio_pci_generic' })
    expect(broken.get('vfio')).toMatchObject({ status: 'warn', fix: 'sudo modprobe vfio_iommu_type1' })
    expect(broken.get('hugepages')).toMatchObject({ status: 'warn', fix: 'sudo sysctl vm.nr_hugepages=64' })
    // What it says is what helps.
    for (const id of ['tun', 'uio', 'vfio'])
      await shell((broken.get(id)?.fix ?? '').replace(/ {3}\(.*/, '').replace('sudo ', ''))
    const mended = await checks()
    for (const id of ['tun', 'uio', 'vfio'])
      expect([id, mended.get(id)]).toEqual([id, expect.objectContaining({ status: 'pass' })])
  })

  it('doctor tells somebody who is not root what that takes', async () => {
    const { stdout } = await guest.run(['setpriv', '--reuid=1000', '--clear-groups', 'netd', 'doctor', '--json'])
    const { checks } = JSON.parse(stdout) as { checks: Check[] }
    const fixes = Object.fromEntries(checks.map(({ id, fix }) => [id, fix]))
    expect(fixes).toMatchObject({
      binding: 'sudo netd bind ...',
      pagemap: 'sudo netd run ...',
      ptrace: 'sudo netd release ...',
      memlock: expect.stringContaining('ulimit -l unlimited'),
    })
  })
})
