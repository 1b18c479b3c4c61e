import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { NetworkNamespace } from '../support/network-namespace.ts'
import { RunningNetd } from '../support/running-netd.ts'
import { TransferServer, transfer } from '../support/transfer.ts'

const megabyte = 1 << 20
const near = '10.99.0.1'
const far = '10.99.0.2'

interface CapturedFrame {
  readonly length: number
  readonly direction: 'in' | 'out'
  readonly comment: string
}

requirement(
  'root',
  'tun',
  'netns',
  'qemu',
  'curl',
  'tshark',
  'nstat',
)('offloads between two TCP stacks', () => {
  let driverSide: NetworkNamespace
  let deviceSide: NetworkNamespace
  let folder: string

  beforeEach(() => {
    driverSide = NetworkNamespace.create()
    deviceSide = NetworkNamespace.create()
    folder = mkdtempSync(join(tmpdir(), 'vts-offload-'))
  })

  afterEach(() => {
    driverSide.close()
    deviceSide.close()
    rmSync(folder, { recursive: true })
  })

  /** netd on t0 here, QEMU's own TAP moved to the other namespace: between them only the virtio device. */
  async function connect(flags: readonly string[], properties = ''): Promise<RunningNetd> {
    const netd = await RunningNetd.start(driverSide, [
      `qemu:virtio-net-pci${properties};netdev=tap,ifname=q0`,
      '--tap',
      't0',
      ...flags,
    ])
    driverSide.run('ip', 'link', 'set', 'q0', 'netns', deviceSide.name)
    for (const [side, name, address] of [
      [driverSide, 't0', near],
      [deviceSide, 'q0', far],
    ] as const) {
      side.run('ip', 'addr', 'add', `${address}/24`, 'dev', name)
      side.run('ip', 'link', 'set', name, 'up')
    }
    return netd
  }

  /** 20 MB both ways, checked; both stacks' own count of bad checksums must stay 0. */
  async function move(): Promise<void> {
    const server = await TransferServer.start(deviceSide, 20 * megabyte, 2, far)
    try {
      const { download, upload, sent } = await transfer(driverSide, `http://${far}:${server.port}/`)
      expect(download).toBe(server.sha256)
      expect(upload).toBe(sent)
    } finally {
      server.close()
    }
    for (const side of [driverSide, deviceSide]) {
      const counters = side.run('nstat', '-asz', 'TcpInSegs', 'TcpInCsumErrors', 'IpInHdrErrors')
      expect(Number(/TcpInSegs\s+(\d+)/.exec(counters)?.[1])).toBeGreaterThan(100)
      expect(Number(/TcpInCsumErrors\s+(\d+)/.exec(counters)?.[1])).toBe(0)
      expect(Number(/IpInHdrErrors\s+(\d+)/.exec(counters)?.[1])).toBe(0)
    }
  }

  function framesOf(file: string): CapturedFrame[] {
    const lines = driverSide.run(
      'tshark',
      '-r',
      file,
      '-Y',
      'tcp',
      '-T',
      'fields',
      '-e',
      'frame.len',
      '-e',
      'frame.packet_flags',
      '-e',
      'frame.comment',
    )
    return lines
      .trim()
      .split('\n')
      .map((line) => {
        const [length, flags, comment = ''] = line.split('\t')
        return { length: Number(length), direction: (Number(flags) & 3) === 1 ? 'in' : 'out', comment }
      })
  }

  it('frames larger than the MTU pass both ways, each with a header that says how to segment it', async () => {
    const file = join(folder, 'offload.pcapng')
    const netd = await connect(['--capture', file])
    const features = (await netd.event('ready'))['features'] as string[]
    expect(features).toEqual(
      expect.arrayContaining(['CSUM', 'GUEST_CSUM', 'HOST_TSO4', 'GUEST_TSO4', 'HOST_TSO6', 'GUEST_TSO6']),
    )
    await move()
    expect(await netd.stop()).toBe(0)
    const frames = framesOf(file)
    for (const direction of ['in', 'out'] as const) {
      const large = frames.filter((frame) => frame.direction === direction && frame.length > 1514)
      expect(large.length).toBeGreaterThan(20)
      // TCP starts behind 14 bytes of Ethernet and 20 of IPv4; its checksum field is 16 bytes in.
      for (const { comment } of large)
        expect(comment).toMatch(/gso_type=TCPV4.*gso_size=14[0-6]\d.*csum_start=34 csum_offset=16/)
    }
  })

  it('without MRG_RXBUF large packets come whole', async () => {
    const file = join(folder, 'whole.pcapng')
    const netd = await connect(['--capture', file], ',mrg_rxbuf=off')
    await move()
    expect(await netd.stop()).toBe(0)
    expect(framesOf(file).some(({ direction, length }) => direction === 'in' && length > 1514)).toBe(true)
  })

  it('legacy: the same with the 10-byte header, and with the 12-byte one', async () => {
    for (const mergeable of ['off', 'on']) {
      const netd = await connect([], `,disable-modern=on,mrg_rxbuf=${mergeable}`)
      await move()
      expect(await netd.stop()).toBe(0)
    }
  })

  it('--no-offload: nothing larger than the MTU, and every checksum is complete', async () => {
    const file = join(folder, 'plain.pcapng')
    const netd = await connect(['--no-offload', '--capture', file])
    expect((await netd.event('ready'))['features']).not.toEqual(expect.arrayContaining(['CSUM']))
    await move()
    expect(await netd.stop()).toBe(0)
    const frames = framesOf(file)
    expect(frames.length).toBeGreaterThan(1000)
    expect(Math.max(...frames.map(({ length }) => length))).toBeLessThanOrEqual(1514)
    // The kernel writes a sum of 0 as 0xffff, which is the same number in one's complement; tshark takes offence.
    const bad = driverSide.run(
      'tshark',
      '-r',
      file,
      '-o',
      'tcp.check_checksum:TRUE',
      '-o',
      'ip.check_checksum:TRUE',
      '-Y',
      '(tcp.checksum.status == 0 && tcp.checksum != 0xffff) || ip.checksum.status == 0',
    )
    expect(bad).toBe('')
  })
})
