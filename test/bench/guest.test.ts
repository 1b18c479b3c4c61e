import { execFile, execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { compareCases, orderOf } from '../../bench/guest/compare.mjs'
import { measures } from '../../bench/guest/measures.mjs'
import { requirement } from '../requirements.ts'

const bench = fileURLToPath(new URL('../../bench/bench.mjs', import.meta.url))

const figures = (word: string, said: string | object): readonly number[] | undefined =>
  measures.find((each) => each.word === word)?.read(typeof said === 'string' ? said : JSON.stringify(said))

describe('the benchmark in a guest', () => {
  it('compares each case with each peer by the ratios within a round', () => {
    const results = new Map([
      ['virtio_net', [100, 200, 400]],
      ['e1000', [50, 50, 50]],
      ['vfio', [150, 100, 400]],
    ])
    const row = { unit: 'Mbit/s', n: 3, ours: 150 }
    expect(compareCases({ name: 'TCP', unit: 'Mbit/s' }, results, ['virtio_net', 'e1000'])).toEqual([
      { ...row, case: 'TCP, vfio against virtio_net', peer: 200, ratio: 1 },
      { ...row, case: 'TCP, vfio against e1000', peer: 50, ratio: 3 },
    ])
  })

  it('turns every second round round', () => {
    expect([0, 1, 2].map((round) => orderOf(['a', 'b', 'c'], round).join(''))).toEqual(['abc', 'cba', 'abc'])
  })

  it('counts what arrived', () => {
    const sent = { bits_per_second: 5e9, bytes: 36000, packets: 2000, seconds: 2 }
    const received = { bits_per_second: 2.5e9, bytes: 18000, packets: 1900, lost_packets: 900, seconds: 2 }
    const report = { end: { sum_sent: sent, sum_received: received, sum: { ...sent, lost_packets: 900 } } }
    expect(figures('tcp-out', report)).toEqual([2500])
    expect(figures('udp-in', report)).toEqual([0.5])
    expect(() => figures('tcp-in', { error: 'the server is busy' })).toThrow('the server is busy')
  })

  it('reads round trips in microseconds, and takes silence for no figure', () => {
    const said = '100 packets transmitted\nrtt min/avg/max/mdev = 0.358/2.667/25.388/5.087 ms, pipe 5\n'
    expect(figures('ping', said)).toEqual([2667, 358])
    expect(() => figures('ping', '1 packets transmitted, 0 received, 100% packet loss')).toThrow('no answer')
  })
})

requirement(
  'root',
  'tun',
  'netns',
  'guest',
  'iperf3',
)('npm run bench -- guest', () => {
  it('measures in a guest, and leaves no network namespace', async () => {
    const child = promisify(execFile)(process.execPath, [
      ...[bench, 'guest', '--quick', '--json', '1', 'vfio', 'virtio_net', 'tcp-out', 'ping'],
    ])
    const { stdout, stderr } = await child
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(rows.map((row) => row['case'])).toEqual([
      'TCP from the guest, vfio against virtio_net',
      'ping, average, vfio against virtio_net',
      'ping, shortest, vfio against virtio_net',
    ])
    for (const row of rows) {
      expect(Object.keys(row).sort()).toEqual(['case', 'n', 'ours', 'peer', 'ratio', 'unit'])
      expect(row['n']).toBe(1)
      expect([row['ours'], row['peer']].every((value) => typeof value === 'number' && value > 0)).toBe(true)
    }
    expect(stderr).toMatch(/^guest: (TCG|KVM), QEMU [\d.]+, Linux \S+, Node v\d/m)
    expect(execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })).not.toContain(
      `virtio-ts-bench-${child.child.pid}`,
    )
  }, 240_000)
})
