import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ControlClient } from '../../apps/netd/src/control/control-client.ts'
import { requirement } from '../requirements.ts'
import { NetworkNamespace } from '../support/network-namespace.ts'
import { RunningNetd } from '../support/running-netd.ts'
import { TransferServer, transfer } from '../support/transfer.ts'
import { VhostPair, type VhostPairOptions } from '../support/vhost-pair.ts'

const megabyte = 1 << 20
const near = '10.98.0.1'
const far = '10.98.0.2'

requirement(
  'root',
  'tun',
  'netns',
  'dpdk-testpmd',
  'iperf3',
  'ping',
  'curl',
  'nstat',
)('netd run on vhost-user: two netds on two ports of one testpmd', () => {
  let here: NetworkNamespace
  let there: NetworkNamespace
  let pair: VhostPair
  let netds: RunningNetd[]
  let folder: string

  beforeEach(() => {
    here = NetworkNamespace.create()
    there = NetworkNamespace.create()
    netds = []
    folder = mkdtempSync(join(tmpdir(), 'vts-vhost-user-'))
  })

  afterEach(async () => {
    here.close()
    there.close()
    rmSync(folder, { recursive: true })
    await pair?.close()
  })

  /** Starts both netds, and testpmd before them or, where it connects, after. */
  async function connect(
    options: VhostPairOptions = {},
    flags: readonly string[] = [],
    env: NodeJS.ProcessEnv = {},
  ): Promise<void> {
    pair = new VhostPair(options)
    if (!options.client) await pair.start()
    const suffix = options.client ? ',server' : ''
    netds = [here, there].map(
      (side, index) =>
        new RunningNetd(side, [`vhost-user:${pair.paths[index as 0 | 1]}${suffix}`, '--tap', 't0', ...flags], env),
    )
    if (options.client) {
      // They listen before anybody can connect.
      await sleep(1000)
      await pair.start()
    }
    await Promise.all(netds.map((netd) => netd.event('ready')))
    await pair.forward()
    here.run('ip', 'addr', 'add', `${near}/24`, 'dev', 't0')
    there.run('ip', 'addr', 'add', `${far}/24`, 'dev', 't0')
  }

  const ping = (): Promise<string> => here.runAsync('ping', '-c', '3', '-i', '0.2', '-W', '3', far)

  const statsOf = async (side: NetworkNamespace): Promise<Record<string, number>> => {
    const client = await ControlClient.connect('t0', side.runtimeDirectory)
    try {
      return await client.stats()
    } finally {
      client.close()
    }
  }

  const carrier = (side: NetworkNamespace): boolean =>
    !side.run('ip', '-o', 'link', 'show', 't0').includes('NO-CARRIER')

  async function stop(): Promise<void> {
    for (const netd of netds) {
      const { pid } = netd
      expect(await netd.stop()).toBe(0)
      expect(netd.stderr).toMatch(/^(netd: waiting for a vhost-user back-end to connect to .*\n)?$/)
      expect(() => readdirSync(`/proc/${pid}`)).toThrow('ENOENT')
    }
    for (const side of [here, there]) expect(side.run('ip', '-o', 'link')).not.toContain('t0')
  }

  it('carries 20 MB each way and iperf3 both ways with offloads, and stops in order', async () => {
    await connect()
    expect(netds[0]?.events[0]).toMatchObject({ transport: 'vhost-user', device: `vhost-user:${pair.paths[0]}` })
    for (const netd of netds)
      expect(netd.events[0]?.['features']).toEqual(
        expect.arrayContaining(['CSUM', 'GUEST_CSUM', 'HOST_TSO4', 'GUEST_TSO4']),
      )
    expect(await ping()).toContain('3 received')
    const server = await TransferServer.start(there, 20 * megabyte, 3, far)
    const { download, upload, sent } = await transfer(here, `http://${far}:${server.port}/`)
    server.close()
    expect(download).toBe(server.sha256)
    expect(upload).toBe(sent)
    for (const reverse of [[], ['--reverse']]) {
      const iperf = there.runAsync('iperf3', '--server', '--one-off')
      await sleep(500)
      const report = JSON.parse(await here.runAsync('iperf3', '--client', far, '--time', '2', '--json', ...reverse))
      await iperf
      expect(report.end.sum_received.bytes).toBeGreaterThan(20 * megabyte)
    }
    // Frames were passed on whole: many times the MTU, and nobody found a wrong checksum.
    const { from_tap_frames: frames = 0, from_tap_bytes: bytes = 0 } = await statsOf(here)
    expect(bytes / frames).toBeGreaterThan(3000)
    for (const side of [here, there])
      expect(Number(/TcpInCsumErrors\s+(\d+)/.exec(side.run('nstat', '-asz', 'TcpInCsumErrors'))?.[1])).toBe(0)
    const client = await ControlClient.connect('t0', here.runtimeDirectory)
    const description = await client.describe()
    client.close()
    expect(description).toMatchObject({ socket: { path: pair.paths[0], listens: 'back-end' }, state: 'running' })
    expect(description).not.toHaveProperty('function')
    await stop()
  })

  it('waits for a back-end that is killed, again and again: no carrier, then traffic', async () => {
    await connect()
    const macs = netds.map(({ events }) => events[0]?.['mac'])
    for (let round = 1; round <= 3; round++) {
      await pair.kill()
      for (const netd of netds) await netd.event('fault', round)
      expect([carrier(here), carrier(there)]).toEqual([false, false])
      await pair.start()
      for (const netd of netds) expect(await netd.event('reset', round)).toMatchObject({ reason: 'device.gone' })
      await pair.forward()
      expect([carrier(here), carrier(there)]).toEqual([true, true])
      expect(await ping()).toMatch(/[123] received/)
    }
    expect(await statsOf(here)).toMatchObject({ resets: 3 })
    // The address is what the neighbours know: it stays.
    for (const [index, side] of [here, there].entries())
      expect(side.run('ip', '-o', 'link', 'show', 't0')).toContain(macs[index])
    await stop()
  })

  it('stops in order while it waits for a back-end', async () => {
    await connect()
    await pair.kill()
    for (const netd of netds) await netd.event('fault')
    await stop()
  })

  it('stops in order while nobody has connected yet, and leaves no socket behind', async () => {
    const path = join(folder, 'lonely')
    const netd = new RunningNetd(here, [`vhost-user:${path},server`, '--tap', 't0'])
    while (!existsSync(path)) await sleep(20)
    expect(netd.stderr).toContain(`waiting for a vhost-user back-end to connect to ${path}`)
    expect(await netd.stop()).toBe(0)
    expect(existsSync(path)).toBe(false)
    expect(here.run('ip', '-o', 'link')).not.toContain('t0')
  })

  it('listens where the back-end connects, and goes on listening when that one is gone', async () => {
    await connect({ client: true })
    expect(await ping()).toContain('3 received')
    await pair.kill()
    for (const netd of netds) await netd.event('fault')
    await pair.start()
    for (const netd of netds) await netd.event('reset')
    await pair.forward()
    expect(await ping()).toMatch(/[123] received/)
    await stop()
  })

  it('--queues 2: both pairs carry frames, each in a thread of its own, also after a recovery', async () => {
    await connect({ queues: 2 }, ['--queues', '2'])
    for (const round of [0, 1]) {
      if (round === 1) {
        await pair.kill()
        for (const netd of netds) await netd.event('fault')
        await pair.start()
        for (const netd of netds) await netd.event('reset')
        await pair.forward()
      }
      const before = await statsOf(here)
      const iperf = there.runAsync('iperf3', '--server', '--one-off')
      await sleep(500)
      await here.runAsync('iperf3', '--client', far, '--time', '1', '--parallel', '16')
      await iperf
      const after = await statsOf(here)
      for (const name of [
        'pair0_from_tap_frames',
        'pair1_from_tap_frames',
        'pair0_to_tap_frames',
        'pair1_to_tap_frames',
      ])
        expect([name, (after[name] ?? 0) - (before[name] ?? 0) > 0]).toEqual([name, true])
      // What passed the TAP is what the drivers of both threads counted, those before the recovery as well.
      expect(after['tx_packets']).toBe((after['from_tap_frames'] ?? 0) - (after['from_tap_drops'] ?? 0))
    }
    const server = await TransferServer.start(there, 20 * megabyte, 4, far)
    const { download, upload, sent } = await transfer(here, `http://${far}:${server.port}/`)
    server.close()
    expect([download, upload]).toEqual([server.sha256, sent])
    await stop()
  })

  it('an error in the thread of a further pair ends netd with 1 and its text, and the interface is gone', async () => {
    const preload = join(folder, 'preload.cjs')
    writeFileSync(
      preload,
      `const { workerData } = require('node:worker_threads')
       if (workerData?.tapFd !== undefined) setTimeout(() => { throw new Error('thrown by a test') }, 3000)`,
    )
    await connect({ queues: 2 }, ['--queues', '2'], { NODE_OPTIONS: `--require ${preload}` })
    for (const [index, netd] of netds.entries()) {
      expect(await netd.ended).toEqual({ code: 1, signal: null })
      expect(netd.stderr).toContain('thrown by a test')
      expect([here, there][index]?.run('ip', '-o', 'link')).not.toContain('t0')
    }
  })

  it('--poll: the same without interrupts', async () => {
    await connect({}, ['--poll'])
    expect(await ping()).toContain('3 received')
    await stop()
  })

  it('idle, uses less than a hundredth of a core', async () => {
    await connect()
    const shares: number[][] = netds.map(() => [])
    for (let window = 0; window < 4; window++) {
      const before = netds.map(({ pid }) => processorTime(pid))
      const start = performance.now()
      await sleep(4000)
      const elapsed = performance.now() - start
      for (const [index, { pid }] of netds.entries())
        shares[index]?.push((processorTime(pid) - (before[index] as number)) / elapsed)
    }
    // Processor time, not time: a machine that is busy makes it no longer. In one window or another V8 tidies up what the start has left.
    for (const share of shares) expect(Math.min(...share)).toBeLessThan(0.01)
    await stop()
  })
})

/** What all threads of a process have run, in milliseconds. */
function processorTime(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]))
    .reduce((sum, nanoseconds) => sum + nanoseconds / 1e6, 0)
}
