import { execFileSync, spawnSync } from 'node:child_process'
import { NetDriver, type NetOptions, packetHash } from '@virtio-ts/driver-net'
import { QemuBench } from '@virtio-ts/qemu'
import { NetHashReport, NetHashType } from '@virtio-ts/spec'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'

const PAIRS = 4
const MAC = '52:54:00:12:34:56'
const HERE = [10, 9, 0, 2]
const THERE = [10, 9, 0, 1]
const FLOWS = 64
const FIRST_PORT = 20_000
const IPV4 = 0x0800
const UDP = 17

const TAP = [
  'ip tuntap add dev tap0 mode tap multi_queue vnet_hdr',
  'ip link set tap0 up',
  `ip address add ${THERE.join('.')}/24 dev tap0`,
  `ip neigh add ${HERE.join('.')} lladdr ${MAC} dev tap0 nud permanent`,
].join(' && ')

/** Containers may forbid user namespaces, or have no /dev/net/tun. */
const userNamespaces = (): string | undefined => {
  const { status } = spawnSync('unshare', ['--user', '--net', '--map-root-user', 'sh', '-c', TAP])
  return status === 0 ? undefined : 'cannot make a TAP interface in a user and network namespace'
}

requirement(
  'qemu',
  'ip',
  'nsenter',
  userNamespaces,
)('several queue pairs on QEMU, over a TAP interface with as many', () => {
  let bench: QemuBench | undefined
  let driver: NetDriver | undefined

  afterEach(async () => {
    await driver?.close()
    await bench?.close()
    driver = bench = undefined
  })

  async function open(properties: string, options: NetOptions): Promise<NetDriver> {
    bench = await QemuBench.start({
      devices: [`virtio-net-pci,netdev=n0,id=nic,mac=${MAC},mq=on,vectors=${2 * PAIRS + 2},${properties}`],
      netdevs: [`tap,id=n0,ifname=tap0,script=no,downscript=no,vhost=off,queues=${PAIRS}`],
      userNetworkNamespace: TAP,
    })
    driver = await NetDriver.open(await VirtioPciDriver.attach(bench.function('nic')), options)
    return driver
  }

  function inNamespace(...command: readonly string[]): string {
    return execFileSync('nsenter', ['-t', String(bench?.pid), '-U', '-n', '--preserve-credentials', ...command], {
      encoding: 'utf8',
      timeout: 20_000,
    })
  }

  /** Datagrams from the other side, one a flow. */
  function sendFlows(): void {
    const last = FIRST_PORT + FLOWS - 1
    inNamespace(
      'bash',
      '-c',
      `for p in $(seq ${FIRST_PORT} ${last}); do echo flow > /dev/udp/${HERE.join('.')}/$p; done`,
    )
  }

  const isFlow = (frame: Uint8Array): boolean => {
    const port = (frame[36]! << 8) | frame[37]!
    const type = (frame[12]! << 8) | frame[13]!
    return type === IPV4 && frame[23] === UDP && port >= FIRST_PORT && port < FIRST_PORT + FLOWS
  }

  interface Arrival {
    readonly pair: number
    readonly frame: Uint8Array
    readonly report: number
    readonly hash: number
  }

  /** Everything that arrives from now on. */
  function listen(net: NetDriver): Arrival[] {
    const arrivals: Arrival[] = []
    for (const pair of net.pairs) {
      pair.onReceive(() => {
        do {
          while (
            pair.receive((packet) => {
              const { hashReport: report, hashValue: hash } = packet.fields
              const frame = packet.toFrame()
              if (isFlow(frame)) arrivals.push({ pair: pair.index, frame, report, hash })
            }, 64) > 0
          );
        } while (pair.armReceive())
      })
    }
    return arrivals
  }

  async function allOf(arrivals: readonly unknown[], count: number): Promise<void> {
    for (let wait = 0; wait < 500 && arrivals.length < count; wait++) await sleep(10)
    expect(arrivals.length).toBe(count)
  }

  it('flows are spread by their hash, the hashes are right, and the table is followed', async () => {
    const net = await open('rss=on,hash=on', { queuePairs: PAIRS, rss: true, hashReport: true })
    expect(net.features.names).toEqual(expect.arrayContaining(['MQ', 'RSS', 'HASH_REPORT']))
    expect([net.pairs.length, net.headerLength]).toEqual([PAIRS, 20])
    expect(net.describe().queuePairs).toEqual({ wanted: PAIRS, device: PAIRS, setUp: PAIRS, inUse: PAIRS })
    const arrivals = listen(net)
    sendFlows()
    await allOf(arrivals, FLOWS)
    const { key, table } = net.rss!
    for (const { pair, frame, report, hash } of arrivals) {
      expect(report).toBe(NetHashReport.UDPV4)
      expect(hash).toBe(packetHash(frame, report, key))
      expect(pair).toBe(table[hash % table.length])
    }
    expect(new Set(arrivals.map(({ pair }) => pair)).size).toBe(PAIRS)
    // A hash over addresses only is the same for all flows, and leads them to one pair.
    arrivals.length = 0
    const other = Uint8Array.from({ length: 40 }, (_, i) => 200 - i)
    await net.setRss({ hashTypes: NetHashType.IPV4, key: other, table: [3, 3, 1, 1] })
    sendFlows()
    await allOf(arrivals, FLOWS)
    const hash = packetHash(arrivals[0]!.frame, NetHashReport.IPV4, other)!
    expect(new Set(arrivals.map((arrival) => arrival.report))).toEqual(new Set([NetHashReport.IPV4]))
    expect(new Set(arrivals.map((arrival) => arrival.hash))).toEqual(new Set([hash]))
    expect(new Set(arrivals.map(({ pair }) => pair))).toEqual(new Set([[3, 3, 1, 1][hash & 3]]))
  })

  it('VQ_PAIRS_SET: pairs in use carry packets both ways, and others do not', async () => {
    const net = await open('rss=off', { queuePairs: PAIRS })
    expect(net.features.names).toContain('MQ')
    const arrivals = listen(net)
    sendFlows()
    await allOf(arrivals, FLOWS)
    const before = received()
    const out = datagram(net)
    for (const pair of net.pairs) for (let i = 0; i < 10; i++) expect(pair.send(out)).toBe(true)
    expect(await net.drain()).toBe(0)
    expect(received() - before).toBe(10 * PAIRS)
    await net.setQueuePairs(1)
    arrivals.length = 0
    sendFlows()
    await allOf(arrivals, FLOWS)
    expect(new Set(arrivals.map(({ pair }) => pair))).toEqual(new Set([0]))
    expect(net.pairs.map((pair) => pair.send(out))).toEqual([true, false, false, false])
    await net.setQueuePairs(PAIRS)
    expect(net.pairs.map((pair) => pair.send(out))).toEqual([true, true, true, true])
    expect(await net.drain()).toBe(0)
    await expect(net.setQueuePairs(PAIRS + 1)).rejects.toThrow(RangeError)
  })

  it('fewer pairs than there are leave the control queue where it is, and hashes come without RSS, too', async () => {
    const net = await open('rss=off,hash=on', { queuePairs: 2, hashReport: true })
    expect(net.features.names).toContain('HASH_REPORT')
    expect(net.describe().queues.at(-1)).toMatchObject({ name: 'controlq', index: 2 * PAIRS })
    const arrivals = listen(net)
    sendFlows()
    await allOf(arrivals, FLOWS)
    for (const { frame, report, hash } of arrivals) {
      expect(report).toBe(NetHashReport.UDPV4)
      expect(hash).toBe(packetHash(frame, report, net.hash!.key))
    }
  })

  it('what the device does not offer is refused', async () => {
    await open('rss=off', {})
    await driver?.close()
    const transport = await VirtioPciDriver.attach(bench!.function('nic'))
    await expect(NetDriver.open(transport, { queuePairs: 2, rss: true })).rejects.toMatchObject({
      code: 'net.unsupported',
    })
  })

  /** Packets the interface has received. */
  function received(): number {
    const [link] = JSON.parse(inNamespace('ip', '-s', '-j', 'link', 'show', 'tap0'))
    return link.stats64.rx.packets
  }

  function datagram(net: NetDriver): Uint8Array {
    const frame = new Uint8Array(60)
    frame.fill(0xff, 0, 6)
    frame.set(net.mac, 6)
    frame.set([0x88, 0xb5], 12)
    return frame
  }
})
