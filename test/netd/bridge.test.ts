import { afterEach, beforeEach, expect, it } from 'vitest'
import { ControlClient } from '../../apps/netd/src/control/control-client.ts'
import { requirement } from '../requirements.ts'
import { NetworkNamespace } from '../support/network-namespace.ts'
import { RunningNetd } from '../support/running-netd.ts'
import { TransferServer, transfer } from '../support/transfer.ts'
import { VhostPair } from '../support/vhost-pair.ts'

const near = '10.96.0.1'
const far = '10.96.0.2'

requirement(
  'root',
  'tun',
  'netns',
  'qemu',
  'curl',
  'ping',
  'dpdk-testpmd',
)('netd bridge', () => {
  let middle: NetworkNamespace
  let here: NetworkNamespace
  let there: NetworkNamespace
  let pair: VhostPair | undefined

  beforeEach(() => {
    middle = NetworkNamespace.create()
    here = NetworkNamespace.create()
    there = NetworkNamespace.create()
    pair = undefined
  })

  afterEach(async () => {
    for (const side of [middle, here, there]) side.close()
    await pair?.close()
  })

  function address(side: NetworkNamespace, name: string, ip: string): void {
    if (!side.run('ip', '-o', 'link').includes(` ${name}:`)) middle.run('ip', 'link', 'set', name, 'netns', side.name)
    side.run('ip', 'addr', 'add', `${ip}/24`, 'dev', name)
    side.run('ip', 'link', 'set', name, 'up')
  }

  async function move(): Promise<void> {
    // The kernel takes an interface whose carrier has come back into use some time later.
    await here.runAsync('ping', '-c', '1', '-w', '15', far)
    const server = await TransferServer.start(there, 20 << 20, 6, far)
    try {
      const { download, upload, sent } = await transfer(here, `http://${far}:${server.port}/`)
      expect([download, upload]).toEqual([server.sha256, sent])
    } finally {
      server.close()
    }
  }

  const qemu = (ifname: string, properties = ''): string =>
    `qemu:virtio-net-pci${properties};netdev=tap,ifname=${ifname}`

  it('two QEMU devices: segments and checksums are left to the ends', async () => {
    const netd = await RunningNetd.start(middle, ['bridge', qemu('q0'), qemu('q1'), '--name', 'br'])
    expect(netd.events[0]).toMatchObject({ name: 'br', ports: [{ device: qemu('q0') }, { device: qemu('q1') }] })
    address(here, 'q0', near)
    address(there, 'q1', far)
    await move()
    const client = await ControlClient.connect('br', middle.runtimeDirectory)
    const stats = await client.stats()
    expect(await client.describe()).toMatchObject({ locator: qemu('q0'), peer: { locator: qemu('q1') } })
    client.close()
    const bytesAFrame = (name: string): number => (stats[`${name}_bytes`] ?? 0) / (stats[`${name}_frames`] ?? 1)
    expect(Math.max(bytesAFrame('a_to_b'), bytesAFrame('b_to_a'))).toBeGreaterThan(2000)
    expect(stats).toMatchObject({ a_to_b_refused_drops: 0, b_to_a_refused_drops: 0, a_resets: 0, b_resets: 0 })
    expect(await netd.stop()).toBe(0)
    expect(netd.events.map(({ event }) => event).filter((event) => event !== 'link')).toEqual(['ready', 'stopped'])
  })

  it.each([
    ['no segmentation', ',host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off'],
    ['no checksums either', ',csum=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off'],
  ])('a device that takes %s gets frames it can send', async (_, properties) => {
    for (const locators of [
      [qemu('q0'), qemu('q1', properties)],
      [qemu('q0', properties), qemu('q1')],
    ]) {
      const netd = await RunningNetd.start(middle, ['bridge', ...locators, '--name', 'br'])
      address(here, 'q0', near)
      address(there, 'q1', far)
      await move()
      const client = await ControlClient.connect('br', middle.runtimeDirectory)
      expect(await client.stats()).toMatchObject({ a_to_b_refused_drops: 0, b_to_a_refused_drops: 0 })
      client.close()
      expect(await netd.stop()).toBe(0)
      expect(netd.events.map(({ event }) => event).filter((event) => event !== 'link')).toEqual(['ready', 'stopped'])
    }
  })

  it('vhost-user and QEMU: also after the back-end was killed and has come back', async () => {
    pair = new VhostPair()
    await pair.start()
    const netd = await RunningNetd.start(middle, ['bridge', `vhost-user:${pair.paths[1]}`, qemu('q0')])
    expect(netd.events[0]).toMatchObject({ name: 'bridge0' })
    const end = await RunningNetd.start(here, [`vhost-user:${pair.paths[0]}`, '--tap', 't0'])
    await pair.forward()
    address(here, 't0', near)
    address(there, 'q0', far)
    await move()
    await pair.kill()
    expect(await netd.event('fault')).toMatchObject({ port: 'a', code: 'device.gone' })
    await end.event('fault')
    await pair.start()
    expect(await netd.event('reset')).toMatchObject({ port: 'a' })
    await end.event('reset')
    await pair.forward()
    await move()
    expect([await end.stop(), await netd.stop()]).toEqual([0, 0])
  })

  it('ends with 69 when a PCI device is gone, and leaves nothing behind when the second one cannot be opened', async () => {
    const netd = new RunningNetd(middle, ['bridge', qemu('q0'), 'vhost-user:/nonexistent/socket'])
    expect(await netd.ended).toEqual({ code: 69, signal: null })
    expect(netd.stderr).toContain('/nonexistent/socket')
    expect(middle.run('ip', '-o', 'link')).not.toContain('q0')
    const model = new RunningNetd(middle, ['bridge', 'model:net', 'model:net,hostile=gone'])
    expect((await model.ended).code).toBe(69)
  })
})
