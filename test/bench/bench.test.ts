import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import os from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { requirement } from '../requirements.ts'

const bench = fileURLToPath(new URL('../../bench/bench.mjs', import.meta.url))
const run = (...args: string[]): Promise<{ stdout: string; stderr: string }> =>
  promisify(execFile)(process.execPath, [bench, ...args])

const headers = (): string | undefined =>
  existsSync('/usr/include/stdlib.h') ? undefined : 'no C headers (apt-get install libc6-dev)'
const twoCores = (): string | undefined => (os.cpus().length < 2 ? 'the machine has one core' : undefined)

// Whether it is fast shows on a quiet machine only; that both drivers get along with the ideal device shows here.
requirement(
  'cc',
  headers,
  twoCores,
)('benchmarks', () => {
  it('print a row for each case of the ideal device', async () => {
    const { stdout } = await run('ideal', '--quick', '--json', 'roundTrip')
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    for (const ring of ['split', 'packed']) {
      const row = rows.find(({ case: name }) => String(name).startsWith(`${ring} round trip, 64 B`))
      expect(Object.keys(row ?? {}).sort()).toEqual(['case', 'n', 'ours', 'peer', 'ratio', 'unit'])
    }
  })

  it('name what there is', async () => {
    await expect(run('nothing')).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('vhost-user') })
  })
})

requirement(
  'qemu',
  'qemu-img',
  'qemu-storage-daemon',
  twoCores,
)('the benchmark of disks', () => {
  it('prints a row for each back-end, and percentiles of ours', async () => {
    const { stdout } = await run('block', '--quick', '--json', 'daemon', 'qemu', 'null', '32', 'write')
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    for (const name of ['qemu-storage-daemon', 'QEMU', 'null, polled']) {
      const row = rows.find((candidate) => candidate['case'] === `${name}, write, depth 32`)
      expect(row).toMatchObject({ unit: 'requests/s', n: 1, ours: expect.any(Number), peer: expect.any(Number) })
      expect(rows.find((candidate) => candidate['case'] === `${name}, write, depth 32: 99 %`)).toMatchObject({
        unit: 'µs',
        peer: null,
      })
    }
  })
})
