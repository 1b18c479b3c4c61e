import { closeSync, fstatSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { openBench, parseLocator, type QemuLocator } from '@virtio-ts/device-locator'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { MemoryMonitor } from '../../apps/balloond/src/machine/memory-monitor.ts'
import { balloonBench } from '../../apps/balloond/src/session/balloon-device.ts'
import { BalloonSession } from '../../apps/balloond/src/session/balloon-session.ts'
import { requirement } from '../requirements.ts'
import { RunningBalloond } from '../support/running-balloond.ts'

const MiB = 2 ** 20
const MEMORY = 64 * MiB
const device = 'virtio-balloon-pci,deflate-on-oom=on'
/** Decisions come fast, in steps that tests can wait for. */
const pace = { '--interval': '0.1', '--step': '8M', '--reserve': '0' }

requirement('qemu')('balloond on QEMU', () => {
  let balloond: RunningBalloond

  beforeEach(() => {
    balloond = new RunningBalloond()
  })

  afterEach(() => balloond.close())

  async function start(
    locator: string,
    options: Readonly<Record<string, string>> = {},
    ...flags: string[]
  ): Promise<void> {
    const all = { '--pressure': balloond.pressureFile, ...pace, ...options }
    balloond.start(balloond.bench(locator), ...Object.entries(all).flat(), ...flags)
    await balloond.event({ event: 'ready' })
  }

  const ask = (bytes: number): Promise<unknown> => balloond.qmp('balloon', { value: MEMORY - bytes })

  async function untilLeft(bytes: number): Promise<void> {
    for (let turn = 0; turn < 1000 && (await balloond.left()) !== bytes; turn++) await delay(10)
    expect(await balloond.left()).toBe(bytes)
  }

  /** 512-byte blocks of the file behind QEMU's memory, which is its descriptor 5. */
  function blocks(): number {
    const fd = openSync(`/proc/${balloond.qemu}/fd/5`, 'r')
    try {
      return fstatSync(fd).blocks
    } finally {
      closeSync(fd)
    }
  }

  it('grows and shrinks as QEMU asks, step by step, and QEMU agrees', async () => {
    await start(device)
    await ask(20 * MiB)
    await untilLeft(MEMORY - 20 * MiB)
    await balloond.event({ event: 'inflated', balloon: 20 * MiB, target: 20 * MiB })
    const grown = balloond.events.filter(({ event }) => event === 'inflated').map(({ by }) => by as number)
    expect(Math.max(...grown)).toBeLessThanOrEqual(8 * MiB)
    expect(grown.reduce((sum, by) => sum + by, 0)).toBe(20 * MiB)
    await ask(3 * MiB)
    await untilLeft(MEMORY - 3 * MiB)
    await balloond.event({ event: 'deflated', balloon: 3 * MiB })
    const shrunk = balloond.events.filter(({ event }) => event === 'deflated').map(({ by }) => by as number)
    expect(shrunk.reduce((sum, by) => sum + by, 0)).toBe(17 * MiB)
    expect(balloond.events.filter(({ event }) => event === 'target').map(({ target }) => target)).toEqual([
      20 * MiB,
      3 * MiB,
    ])
  })

  it('--max is a limit, whatever QEMU asks for', async () => {
    await start(device, { '--max': '5M' })
    await ask(20 * MiB)
    await untilLeft(MEMORY - 5 * MiB)
    await delay(500)
    expect(await balloond.left()).toBe(MEMORY - 5 * MiB)
  })

  it('memory that is given is gone from the file behind it', async () => {
    await start(device, { '--step': '1G' })
    // The upper half in use once; rings are at the bottom.
    const fd = openSync(`/proc/${balloond.qemu}/fd/5`, 'r+')
    const block = Buffer.alloc(MiB, 0xa5)
    for (let at = 32; at < 64; at++) writeSync(fd, block, 0, MiB, at * MiB)
    closeSync(fd)
    const before = blocks()
    expect(before * 512).toBeGreaterThan(32 * MiB)
    await ask(62 * MiB)
    await untilLeft(MEMORY - 62 * MiB)
    expect((before - blocks()) * 512).toBeGreaterThan(30 * MiB)
  })

  it('tells QEMU about the memory of this machine', async () => {
    await start(device)
    const path = '/machine/peripheral/balloon0'
    await balloond.qmp('qom-set', { path, property: 'guest-stats-polling-interval', value: 1 })
    const total = Number(/^MemTotal:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * 1024
    let stats: Record<string, number> = {}
    for (let turn = 0; turn < 500 && stats['stat-total-memory'] !== total; turn++) {
      await delay(20)
      stats = (await balloond.qmp<{ stats: Record<string, number> }>('qom-get', { path, property: 'guest-stats' }))
        .stats
    }
    expect(stats['stat-total-memory']).toBe(total)
    expect(stats['stat-free-memory']).toBeLessThan(total)
    expect(stats['stat-available-memory']).toBeGreaterThan(0)
    expect(stats['stat-disk-caches']).toBeGreaterThan(0)
    expect(stats['stat-minor-faults']).toBeGreaterThan(1000)
  })

  it('under pressure memory comes back though QEMU wants it, and goes again when it is calm', async () => {
    await start(device, { '--min': '4M' })
    await ask(20 * MiB)
    await untilLeft(MEMORY - 20 * MiB)
    balloond.press(25)
    await balloond.event({ event: 'pressure', pressed: true, some: 25 })
    await untilLeft(MEMORY - 4 * MiB)
    // Neither high nor low: nothing moves.
    balloond.press(5)
    await delay(1000)
    expect(await balloond.left()).toBe(MEMORY - 4 * MiB)
    balloond.press(0.5)
    await balloond.event({ event: 'pressure', pressed: false })
    await untilLeft(MEMORY - 20 * MiB)
    // Nobody has asked for another size meanwhile.
    expect(balloond.events.filter(({ event }) => event === 'target')).toHaveLength(1)
  })

  it('without DEFLATE_ON_OOM it says so, and under pressure only stops growing', async () => {
    await start('virtio-balloon-pci')
    await balloond.event({ event: 'warning', code: 'balloon.deflate-forbidden' })
    await ask(4 * MiB)
    await untilLeft(MEMORY - 4 * MiB)
    balloond.press(50)
    await balloond.event({ event: 'pressure', pressed: true })
    await ask(20 * MiB)
    await delay(700)
    expect(await balloond.left()).toBe(MEMORY - 4 * MiB)
    balloond.press(0)
    await untilLeft(MEMORY - 20 * MiB)
  })

  it('a pressure that cannot be read any more: told once, and nothing is given meanwhile', async () => {
    await start(device)
    writeFileSync(balloond.pressureFile, 'nonsense')
    await balloond.event({ event: 'warning', code: 'pressure.unreadable' })
    await ask(10 * MiB)
    await delay(700)
    expect(await balloond.left()).toBe(MEMORY)
    balloond.press(0)
    await untilLeft(MEMORY - 10 * MiB)
    expect(balloond.events.filter(({ event }) => event === 'warning')).toHaveLength(1)
  })

  it('the limit of a cgroup counts: no more is given than leaves its reserve', async () => {
    const cgroup = balloond.folder
    const use = (bytes: number): void => writeFileSync(join(cgroup, 'memory.current'), `${bytes}\n`)
    writeFileSync(join(cgroup, 'memory.max'), `${100 * MiB}\n`)
    writeFileSync(join(cgroup, 'memory.stat'), 'anon 1\ninactive_file 0\n')
    // 40 MiB are available, which is 1.25 times the reserve.
    use(60 * MiB)
    await start(device, { '--cgroup': cgroup, '--reserve': '32M' })
    await ask(30 * MiB)
    await balloond.event({ event: 'target' })
    await delay(700)
    expect(await balloond.left()).toBe(MEMORY)
    use(40 * MiB)
    await untilLeft(MEMORY - 30 * MiB)
    use(70 * MiB)
    await balloond.event({ event: 'pressure', pressed: true, available: 30 * MiB })
    await untilLeft(MEMORY)
  })

  it('a dry run says what it would do, and does nothing', async () => {
    await start(device, {}, '--dry-run')
    const before = blocks()
    await ask(20 * MiB)
    expect(await balloond.event({ event: 'inflated', balloon: 20 * MiB })).toMatchObject({ dryRun: true })
    balloond.press(30)
    expect(await balloond.event({ event: 'deflated', balloon: 0 })).toMatchObject({ dryRun: true })
    expect(await balloond.left()).toBe(MEMORY)
    expect(blocks()).toBe(before)
    expect(await balloond.stop()).toBe(0)
  })

  it('SIGTERM: all memory comes back, exit code 0', async () => {
    await start(device)
    await ask(20 * MiB)
    await untilLeft(MEMORY - 20 * MiB)
    await balloond.event({ event: 'inflated', balloon: 20 * MiB })
    expect(await balloond.stop()).toBe(0)
    expect(balloond.events.slice(-2)).toEqual([
      { event: 'deflated', by: 20 * MiB, balloon: 0, target: 20 * MiB, dryRun: false },
      { event: 'stopped', reason: 'SIGTERM' },
    ])
  })

  it('QEMU knows that the balloon is empty before it is reset', async () => {
    const opened = await openBench(balloonBench(parseLocator(`qemu:${device}`) as QemuLocator))
    const monitor = await MemoryMonitor.open({ pressure: balloond.pressureFile, cgroup: undefined })
    const limits = { min: 0, max: 2 ** 32 - 1, step: 2048, reserve: 0, high: 10, low: 1 }
    const options = { name: 'test', limits, interval: 50, dryRun: false, free: 0 }
    const { signal } = new AbortController()
    const kept = { ...opened, release: () => Promise.resolve() }
    const session = await BalloonSession.open(kept, monitor, options, () => {}, signal)
    const left = async (): Promise<number> =>
      (await opened.bench.qmp.execute<{ actual: number }>('query-balloon')).actual
    await opened.bench.qmp.execute('balloon', { value: MEMORY - 20 * MiB })
    while ((await left()) !== MEMORY - 20 * MiB) await delay(10)
    await session.stop()
    expect(await left()).toBe(MEMORY)
    expect(opened.bench.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await opened.release()
    balloond.start('--version')
  })

  it('QEMU killed: exit code 69', async () => {
    await start(device)
    await ask(8 * MiB)
    await untilLeft(MEMORY - 8 * MiB)
    process.kill(balloond.qemu, 'SIGKILL')
    expect(await balloond.ended).toEqual({ code: 69, signal: null })
    expect(balloond.events.at(-1)?.event).toBe('stopped')
    expect(balloond.messages).toMatch(/^balloond: .*\n(.*\n)* {2}fix: /)
  })

  it.each([
    [2, ['model:balloon', '--min', '2M', '--max', '1M'], '--min "2M" cannot be used'],
    [2, ['model:balloon', '--step', '1'], '--step "1" cannot be used'],
    [2, ['model:balloon', '--intervall', '1'], 'did you mean --interval?'],
    [2, ['model:balloon,target=2T'], 'model:balloon cannot use this target'],
    [69, ['model:net'], 'model:net is not available'],
    [1, ['model:balloon', '--cgroup', '/nowhere'], 'cannot read /nowhere'],
    [69, ['qemu:virtio-net-pci'], 'fix: '],
  ])('ends with %i for %j', async (code, args, message) => {
    balloond.start(...args)
    expect(await balloond.ended).toEqual({ code, signal: null })
    expect(balloond.messages).toContain(message)
  })
})
