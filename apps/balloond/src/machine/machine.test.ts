import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cgroupAvailable } from './cgroup.ts'
import { machineStatistics } from './machine-statistics.ts'
import { MemoryMonitor } from './memory-monitor.ts'
import { pageSize } from './page-size.ts'
import { parseFields } from './parse-fields.ts'
import { parsePressure } from './parse-pressure.ts'

const psi = 'some avg10=1.53 avg60=0.87 avg300=0.00 total=461840\nfull avg10=0.40 avg60=0.00 avg300=0.00 total=440129\n'

describe('parsePressure', () => {
  it('reads the last ten seconds', () => {
    expect(parsePressure(psi)).toEqual({ some: 1.53, full: 0.4 })
    expect(parsePressure('some avg10=100.00 avg60=0.00 avg300=0.00 total=1\n')).toEqual({ some: 100, full: 0 })
    // Order and further fields are the kernel's.
    expect(parsePressure('full avg10=3.00\nsome new=1 avg10=2.00 avg60=9.00\n')).toEqual({ some: 2, full: 3 })
  })

  it.each([
    '',
    'some',
    'some avg10=',
    'some avg10=x',
    'some avg60=1.00',
    'some avg10=101.00',
    'full avg10=1.00',
    'some avg10=-1',
  ])('is not taken in by %j', (text) => expect(parsePressure(text)).toBeUndefined())

  it('never throws', () => {
    fc.assert(fc.property(fc.string(), (text) => void parsePressure(text)))
  })
})

describe('parseFields', () => {
  it('reads meminfo, vmstat and memory.stat', () => {
    const fields = parseFields(
      'MemTotal:  16 kB\nActive(anon):  2 kB\nHugePages_Total:   3\npgfault 12\nbroken x\n\nnr_x 5 6\n',
    )
    expect([...fields]).toEqual([
      ['MemTotal', 16384],
      ['Active(anon)', 2048],
      ['HugePages_Total', 3],
      ['pgfault', 12],
    ])
  })

  it('never throws', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseFields(text)))
  })
})

describe('machineStatistics', () => {
  it('has everything that this kernel says', () => {
    const read = (name: string): ReadonlyMap<string, number> => parseFields(readFileSync(`/proc/${name}`, 'utf8'))
    const [meminfo, vmstat] = [read('meminfo'), read('vmstat')]
    const statistics = machineStatistics(meminfo, vmstat, 4096)
    expect(statistics).toMatchObject({
      total: meminfo.get('MemTotal'),
      free: meminfo.get('MemFree'),
      available: meminfo.get('MemAvailable'),
      majorFaults: vmstat.get('pgmajfault'),
      minorFaults: vmstat.get('pgfault'),
      caches: (vmstat.get('nr_file_pages') ?? 0) * 4096,
      swapIn: (vmstat.get('pswpin') ?? 0) * 4096,
    })
  })

  it('leaves out what there is not', () => {
    expect(machineStatistics(new Map([['MemFree', 5]]), new Map([['htlb_buddy_alloc_fail', 2]]), 4096)).toEqual({
      free: 5,
      hugePageFailures: 2,
    })
  })
})

describe('on this machine', () => {
  it('pageSize is what getconf says', () => {
    expect(pageSize()).toBe(Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' })))
  })

  it('a monitor reads it', async () => {
    const monitor = await MemoryMonitor.open({ pressure: undefined, cgroup: undefined })
    expect(monitor.pressurePath).toBe(existsSync('/proc/pressure/memory') ? '/proc/pressure/memory' : undefined)
    expect((await monitor.read()).available).toBeGreaterThan(0)
    expect((await monitor.statistics()).total).toBeGreaterThan(0)
  })
})

describe('in a folder', () => {
  let folder: string
  const put = (name: string, text: string): void => writeFileSync(join(folder, name), text)

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-machine-'))
  })

  afterEach(() => rmSync(folder, { recursive: true }))

  describe('cgroupAvailable', () => {
    it('version 2: what is left, and the caches that can go', async () => {
      put('memory.current', '3000\n')
      put('memory.max', '10000\n')
      put('memory.stat', 'anon 1\nfile 900\ninactive_file 500\n')
      expect(await cgroupAvailable(folder)).toBe(7500)
      put('memory.current', '12000\n')
      expect(await cgroupAvailable(folder)).toBe(0)
      put('memory.max', 'max\n')
      expect(await cgroupAvailable(folder)).toBeUndefined()
    })

    it('version 1', async () => {
      put('memory.usage_in_bytes', '3000\n')
      put('memory.limit_in_bytes', '10000\n')
      put('memory.stat', 'inactive_file 1\ntotal_inactive_file 700\n')
      expect(await cgroupAvailable(folder)).toBe(7700)
      put('memory.limit_in_bytes', '9223372036854771712\n')
      expect(await cgroupAvailable(folder)).toBeUndefined()
    })

    it('neither', async () => {
      expect(await cgroupAvailable(folder)).toBe('unreadable')
      put('memory.current', 'many\n')
      put('memory.max', '10000\n')
      expect(await cgroupAvailable(folder)).toBe('unreadable')
    })
  })

  describe('MemoryMonitor', () => {
    const open = (options: { pressure?: string; cgroup?: string } = {}): Promise<MemoryMonitor> =>
      MemoryMonitor.open({ pressure: undefined, cgroup: undefined, proc: folder, ...options })

    it('knows nothing where nothing is told', async () => {
      const monitor = await open()
      expect(monitor.pressurePath).toBeUndefined()
      expect(await monitor.read()).toEqual({ pressure: undefined, available: undefined })
      expect(await monitor.statistics()).toEqual({})
    })

    it('prefers the file asked for, then that of the cgroup, then the one of the machine', async () => {
      mkdirSync(join(folder, 'pressure'))
      put('pressure/memory', psi.replace('1.53', '1.00'))
      put('meminfo', 'MemAvailable: 9 kB\n')
      expect((await (await open()).read()).pressure?.some).toBe(1)
      put('memory.current', '3000')
      put('memory.max', '10000')
      // A cgroup of version 1 tells no pressure.
      expect((await (await open({ cgroup: folder })).read()).pressure?.some).toBe(1)
      put('memory.pressure', psi.replace('1.53', '2.00'))
      expect(await (await open({ cgroup: folder })).read()).toEqual({
        pressure: { some: 2, full: 0.4 },
        available: 7000,
      })
      put('mine', psi.replace('1.53', '3.00'))
      expect((await (await open({ cgroup: folder, pressure: join(folder, 'mine') })).read()).pressure?.some).toBe(3)
      put('memory.max', '100000')
      expect((await (await open({ cgroup: folder })).read()).available).toBe(9 * 1024)
    })

    it('what was asked for and cannot be read is an error, at first and later', async () => {
      const unreadable = { code: 'pressure.unreadable' }
      await expect(open({ pressure: join(folder, 'none') })).rejects.toMatchObject(unreadable)
      await expect(open({ cgroup: folder })).rejects.toMatchObject(unreadable)
      put('mine', psi)
      const monitor = await open({ pressure: join(folder, 'mine') })
      put('mine', 'gone')
      await expect(monitor.read()).rejects.toMatchObject(unreadable)
      put('mine', psi)
      expect((await monitor.read()).pressure?.some).toBe(1.53)
    })
  })
})
