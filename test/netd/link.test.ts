import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openBench, parseLocator, type QemuLocator } from '@virtio-ts/device-locator'
import { enterNewNetworkNamespace } from '@virtio-ts/native'
import type { QemuBench } from '@virtio-ts/qemu'
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { netBench, nicId } from '../../apps/netd/src/session/net-device.ts'
import { NetSession } from '../../apps/netd/src/session/net-session.ts'
import type { SessionEvent } from '../../apps/netd/src/session/session-event.ts'
import { requirement } from '../requirements.ts'

function carrier(tap: string): boolean {
  const [link] = JSON.parse(execFileSync('ip', ['-j', 'link', 'show', tap], { encoding: 'utf8' })) as {
    flags: string[]
  }[]
  return !link?.flags.includes('NO-CARRIER')
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return
    await sleep(10)
  }
  throw new Error(`never happened: ${what}`)
}

requirement(
  'root',
  'tun',
  'netns',
  'qemu',
)('link and announcements, from the device to the TAP', () => {
  let session: NetSession
  let bench: QemuBench
  let events: SessionEvent[]

  // This file's process alone moves: QEMU and the TAP live in a namespace that ends with it.
  beforeAll(() => enterNewNetworkNamespace())

  beforeEach(async () => {
    events = []
    session = await NetSession.open(
      { locator: 'test', tap: 't0', withoutFeatures: [], poll: false },
      async () => {
        const device = await openBench(netBench(parseLocator('qemu:virtio-net-pci;netdev=user') as QemuLocator))
        bench = device.bench
        return device
      },
      (event) => events.push(event),
    )
  })

  afterEach(() => session.stop())

  const links = (): boolean[] => events.flatMap((event) => (event.event === 'link' ? [event.up] : []))

  it('set_link off and on within 50 ms: two events in order, and the carrier with them', async () => {
    expect(carrier('t0')).toBe(true)
    await bench.qmp.setLink(nicId, false)
    await sleep(20)
    await bench.qmp.setLink(nicId, true)
    await until(() => links().length === 2, 'two link events')
    expect(links()).toEqual([false, true])
    expect(carrier('t0')).toBe(true)
  })

  it('link down takes the carrier away, and a hundred flaps end where the last one left it', async () => {
    await bench.qmp.setLink(nicId, false)
    await until(() => !carrier('t0'), 'NO-CARRIER')
    for (let i = 0; i < 100; i++) await bench.qmp.setLink(nicId, i % 2 === 0)
    await sleep(50)
    await bench.qmp.setLink(nicId, true)
    await until(() => links().at(-1) === true && carrier('t0'), 'link up')
    // Each event differs from the one before: none was doubled.
    links().forEach((up, i, all) => expect(up).not.toBe(all[i - 1]))
  })

  it('§ 5.1.6.5.4.1 announce-self is answered by a gratuitous ARP for each address, then acknowledged', async () => {
    execFileSync('ip', ['addr', 'add', '10.0.2.77/24', 'dev', 't0'])
    execFileSync('ip', ['addr', 'add', '10.0.2.78/24', 'dev', 't0'])
    const dump = join(mkdtempSync(join(tmpdir(), 'vts-announce-')), 'frames.pcap')
    // QEMU's own record of what its device transmitted.
    await bench.qmp.execute('object-add', { 'qom-type': 'filter-dump', id: 'dump0', netdev: 'net0', file: dump })
    await bench.qmp.announceSelf()
    await until(() => events.some(({ event }) => event === 'announce'), 'announce event')
    expect(events.find(({ event }) => event === 'announce')).toMatchObject({ sent: 2 })
    await until(() => (session.stats()['control_commands'] ?? 0) > 0, 'the acknowledgement')
    // The device has taken it: the announce bit is gone from its configuration.
    expect(session.stats()['control_refused']).toBe(0)
    await bench.qmp.execute('object-del', { id: 'dump0' })
    const arps = execFileSync(
      'tshark',
      ['-r', dump, '-Y', 'arp.isgratuitous', '-T', 'fields', '-e', 'arp.src.proto_ipv4', '-e', 'eth.dst'],
      { encoding: 'utf8' },
    )
    expect(arps.trim().split('\n').sort()).toEqual(['10.0.2.77\tff:ff:ff:ff:ff:ff', '10.0.2.78\tff:ff:ff:ff:ff:ff'])
    rmSync(dirname(dump), { recursive: true })
  })
})
