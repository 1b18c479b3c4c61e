import { spawnSync } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { expect, it } from 'vitest'
import { requirement } from '../../../test/requirements.ts'
import { inChild } from './in-child.fixture.ts'
import { QemuBench } from './qemu-bench.ts'
import { alive, RawVirtio, until } from './raw-virtio.fixture.ts'
import { startBench } from './start-bench.fixture.ts'

const TAP = 'ip tuntap add dev tap0 mode tap vnet_hdr && ip link set tap0 up'
/** Containers may forbid user namespaces, or have no /dev/net/tun. */
const userNamespaces = (): string | undefined => {
  const { status } = spawnSync('unshare', ['--user', '--net', '--map-root-user', 'sh', '-c', TAP])
  return status === 0 ? undefined : 'cannot make a TAP interface in a user and network namespace'
}

requirement(
  'qemu',
  'ip',
  userNamespaces,
)('a network namespace of its own', () => {
  it('lets QEMU have a TAP interface with offloads, without privileges here', async () => {
    const bench = await startBench({
      devices: ['virtio-net-pci,netdev=n0,id=nic'],
      netdevs: ['tap,id=n0,ifname=tap0,script=no,downscript=no,vhost=off'],
      userNetworkNamespace: TAP,
    })
    expect(readlinkSync(`/proc/${bench.pid}/ns/net`)).not.toBe(readlinkSync('/proc/self/ns/net'))
    expect(readlinkSync(`/proc/${bench.pid}/exe`)).toContain('qemu-system')
    const fn = bench.function('nic')
    const [vector] = fn.enableMsix(1)
    const device = new RawVirtio(fn)
    device.begin()
    // CSUM and HOST_TSO4, which only a back-end that knows the header offers
    expect(device.common.bar.read32(device.common.offset + 4) & 0x801).toBe(0x801)
    const transmit = device.queue(1, 0)
    device.driverOk()
    const frame = fn.dma.allocate(12 + 60)
    frame.bytes.fill(0xff, 12, 18)
    transmit.add(frame, false)
    transmit.notify()
    await until(() => vector?.drain() === true)
    expect(transmit.used).toBe(1)
  })

  it('ends with its parent as well', async () => {
    const child = inChild(`
      const bench = await QemuBench.start({ devices: [], userNetworkNamespace: true })
      console.log(bench.pid)
      setInterval(() => {}, 1000)`)
    const pid = Number(await child.line())
    child.process.kill('SIGKILL')
    await until(() => !alive(pid))
  })

  it('a script that fails says so', async () => {
    const start = QemuBench.start({ devices: [], userNetworkNamespace: 'echo no such interface >&2; exit 4' })
    await expect(start).rejects.toMatchObject({
      code: 'qemu.start-failed',
      message: expect.stringContaining('no such interface'),
    })
  })
})
