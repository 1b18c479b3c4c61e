import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { compareResults } from '../../bench/block/compare-results.mjs'
import { blkd, fio } from '../../bench/block/guest-tools.mjs'
import { requirement } from '../requirements.ts'

const bench = fileURLToPath(new URL('../../bench/bench.mjs', import.meta.url))

/** What fio 3.33 says of one side, shortened. */
const side = (iops: number, percentile: Record<string, number>): object => ({
  total_ios: iops * 2,
  iops,
  slat_ns: { mean: 1 },
  clat_ns: { mean: 2 },
  lat_ns: { mean: 3, percentile },
})
const idle = { total_ios: 0, iops: 0, lat_ns: { mean: 0 } }
const percentile = { '1.000000': 900_000, '50.000000': 2_600_000, '99.000000': 20_000_000, '99.900000': 71_000_000 }

describe('the benchmark of disks in a guest', () => {
  it('asks both sides for the same load', () => {
    const load = { operation: 'write', depth: 32, warmUp: 2, seconds: 3 } as const
    const words = (line: string): readonly string[] => line.split(' ')
    expect(fio.command('/dev/vda', load)).toEqual(
      expect.arrayContaining([
        ...words('--filename=/dev/vda --direct=1 --rw=randwrite --bs=4096 --iodepth=32'),
        ...words('--time_based --runtime=3 --ramp_time=2 --lat_percentiles=1 --output-format=json'),
      ]),
    )
    expect(fio.command('/dev/vda', { ...load, operation: 'read' })).toContain('--rw=randread')
    expect(blkd.command('vfio:0000:00:05.0', load)).toEqual(
      words(
        'blkd bench vfio:0000:00:05.0 --json --write-destroys-data --depth 32 --length 4096 --warm-up 2 --seconds 3',
      ),
    )
    expect(blkd.command('vfio:0000:00:05.0', { ...load, operation: 'read' })).not.toContain('--write-destroys-data')
  })

  it('reads what fio says of the side that was measured, in microseconds', () => {
    const said = { rate: 7500, median: 2600, p99: 20_000 }
    const reading = { jobs: [{ error: 0, read: side(7500, percentile), write: idle }] }
    const writing = { jobs: [{ error: 0, read: idle, write: side(7500, percentile) }] }
    expect(fio.read(JSON.stringify(reading))).toEqual(said)
    expect(fio.read(JSON.stringify(writing))).toEqual(said)
  })

  it('takes an error, or nothing, of fio for no figure', () => {
    const failed = { jobs: [{ error: 5, read: side(7500, percentile), write: idle }] }
    expect(() => fio.read(JSON.stringify(failed))).toThrow('error 5')
    expect(() => fio.read(JSON.stringify({ jobs: [{ error: 0, read: idle, write: idle }] }))).toThrow('no requests')
    // Without --lat_percentiles.
    const bare = { jobs: [{ error: 0, read: { ...side(7500, percentile), lat_ns: { mean: 3 } }, write: idle }] }
    expect(() => fio.read(JSON.stringify(bare))).toThrow('no requests')
  })

  it('reads what blkd says', () => {
    const latency = { mean: 2962.8, p50: 1678.3, p90: 6434.8, p99: 20529.2, p999: 51839, max: 76939.3 }
    expect(blkd.read(JSON.stringify({ iops: 10729, latency }))).toEqual({ rate: 10729, median: 1678.3, p99: 20529.2 })
    const none = { mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 }
    expect(() => blkd.read(JSON.stringify({ iops: 0, latency: none }))).toThrow('no requests')
  })

  it('compares within a round, and takes the medians', () => {
    const result = (rate: number, median: number, p99: number): { rate: number; median: number; p99: number } => ({
      rate,
      median,
      p99,
    })
    const ours = [result(100, 10, 50), result(300, 20, 40), result(200, 60, 90)]
    const peer = [result(200, 10, 100), result(100, 40, 10), result(250, 20, 90)]
    expect(compareResults('guest, read, depth 4', ours, peer)).toEqual([
      { case: 'guest, read, depth 4', ours: 200, peer: 200, ratio: 0.8, unit: 'requests/s', n: 3 },
      { case: 'guest, read, depth 4: median', ours: 20, peer: 20, ratio: 1, unit: 'µs', n: 3 },
      { case: 'guest, read, depth 4: 99 %', ours: 50, peer: 90, ratio: 1, unit: 'µs', n: 3 },
    ])
  })
})

requirement('qemu', 'guest')('npm run bench -- block guest', () => {
  it('measures blkd and fio in one guest', async () => {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [
      ...[bench, 'block', '--quick', '--json', 'guest', 'write', '4'],
    ])
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    const name = 'guest, write, depth 4'
    expect(rows.map((row) => [row['case'], row['unit']])).toEqual([
      [name, 'requests/s'],
      [`${name}: median`, 'µs'],
      [`${name}: 99 %`, 'µs'],
    ])
    for (const row of rows) {
      expect(Object.keys(row).sort()).toEqual(['case', 'n', 'ours', 'peer', 'ratio', 'unit'])
      expect(row['n']).toBe(3)
      expect([row['ours'], row['peer']].every((value) => typeof value === 'number' && value > 0)).toBe(true)
    }
    expect(stderr).toMatch(/^guest: (TCG|KVM), QEMU [\d.]+, Linux \S+, Node v\d\S+, fio-\d/m)
  }, 300_000)
})
