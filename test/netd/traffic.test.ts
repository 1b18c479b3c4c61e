import { afterAll, beforeAll, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { NetworkNamespace } from '../support/network-namespace.ts'
import { RunningNetd } from '../support/running-netd.ts'
import { lease, TransferServer, transfer } from '../support/transfer.ts'

const megabyte = 1 << 20

interface Face {
  readonly name: string
  readonly properties: string
  /** What netd must say it found: otherwise the variant was not the one tested. */
  readonly transport: string
  readonly interrupts: 'msix' | 'intx'
  /** @defaultValue false */
  readonly packed?: boolean
}

const faces: readonly Face[] = [
  { name: 'modern', properties: 'disable-legacy=on', transport: 'pci-modern', interrupts: 'msix' },
  { name: 'transitional', properties: 'disable-legacy=off', transport: 'pci-modern', interrupts: 'msix' },
  { name: 'legacy', properties: 'disable-modern=on,disable-legacy=off', transport: 'pci-legacy', interrupts: 'msix' },
  { name: 'INTx', properties: 'vectors=0', transport: 'pci-modern', interrupts: 'intx' },
  {
    name: 'legacy INTx, as VirtualBox offers it',
    properties: 'vectors=0,disable-modern=on,disable-legacy=off',
    transport: 'pci-legacy',
    interrupts: 'intx',
  },
]

const machines = ['pc', 'q35'] as const
/** Each knob off by itself, then all of them; on is QEMU's default. */
const knobs: readonly (readonly string[])[] = [
  [],
  ['mrg_rxbuf'],
  ['event_idx'],
  ['indirect_desc'],
  ['mrg_rxbuf', 'event_idx', 'indirect_desc'],
]

const featureOf: Readonly<Record<string, string>> = {
  mrg_rxbuf: 'MRG_RXBUF',
  event_idx: 'EVENT_IDX',
  indirect_desc: 'INDIRECT_DESC',
}

requirement(
  'root',
  'tun',
  'netns',
  'qemu',
  'udhcpc',
  'ping',
  'curl',
)('netd run on QEMU with user networking: DHCP, ping, 20 MB each way', () => {
  let namespace: NetworkNamespace
  let server: TransferServer

  beforeAll(async () => {
    namespace = NetworkNamespace.create()
    server = await TransferServer.start(namespace, 20 * megabyte, 1)
  })

  afterAll(() => {
    server?.close()
    namespace?.close()
  })

  async function check(
    locator: string,
    flags: readonly string[],
    expected: Partial<Face>,
    off: readonly string[],
  ): Promise<void> {
    const netd = await RunningNetd.start(namespace, [locator, '--tap', 't0', ...flags])
    try {
      const ready = await netd.event('ready')
      expect(ready['transport']).toBe(expected.transport)
      expect(Number(ready['vectors']) > 0).toBe(expected.interrupts === 'msix')
      expect((ready['features'] as string[]).includes('RING_PACKED')).toBe(expected.packed ?? false)
      for (const knob of Object.keys(featureOf)) {
        expect([knob, (ready['features'] as string[]).includes(featureOf[knob] as string)]).toEqual([
          knob,
          !off.includes(knob),
        ])
      }
      expect(await lease(namespace, 't0')).toBe('10.0.2.15')
      expect(await namespace.runAsync('ping', '-c', '3', '-i', '0.2', '-W', '2', '10.0.2.2')).toContain('3 received')
      const { download, upload, sent } = await transfer(namespace, `http://10.0.2.2:${server.port}/`)
      expect(download).toBe(server.sha256)
      expect(upload).toBe(sent)
    } finally {
      expect(await netd.stop()).toBe(0)
    }
    expect(netd.events.map(({ event }) => event).filter((event) => event !== 'link')).toEqual(['ready', 'stopped'])
    expect(() => namespace.run('ip', 'link', 'show', 't0')).toThrow('does not exist')
  }

  for (const machine of machines) {
    for (const face of faces) {
      for (const off of knobs) {
        const properties = [face.properties, ...off.map((knob) => `${knob}=off`)].join(',')
        it(`${machine}, ${face.name}${off.length ? `, without ${off.join(', ')}` : ''}`, async () => {
          await check(`qemu:virtio-net-pci,${properties};netdev=user;machine=${machine}`, [], face, off)
        })
      }
    }
  }

  for (const off of [[], ['event_idx', 'indirect_desc']]) {
    it(`q35, packed rings${off.length ? `, without ${off.join(', ')}` : ''}`, async () => {
      const properties = ['packed=on', ...off.map((knob) => `${knob}=off`)].join(',')
      const expected = { transport: 'pci-modern', interrupts: 'msix', packed: true } as const
      await check(`qemu:virtio-net-pci,${properties};netdev=user;machine=q35`, [], expected, off)
    })
  }

  it('polled mode gives the same result', async () => {
    await check('qemu:virtio-net-pci;netdev=user', ['--poll'], { transport: 'pci-modern', interrupts: 'intx' }, [])
  })
})
