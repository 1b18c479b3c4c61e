import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ControlClient } from '../../apps/netd/src/control/control-client.ts'
import { requirement } from '../requirements.ts'
import { NetworkNamespace } from '../support/network-namespace.ts'
import { RunningNetd } from '../support/running-netd.ts'

requirement(
  'root',
  'tun',
  'netns',
  'ping',
)('the thread that moves the frames', () => {
  let namespace: NetworkNamespace
  let folder: string

  beforeEach(() => {
    namespace = NetworkNamespace.create()
    folder = mkdtempSync(join(tmpdir(), 'vts-data-plane-'))
  })

  afterEach(() => {
    namespace.close()
    rmSync(folder, { recursive: true })
  })

  /** netd whose worker thread also runs this code, some time after it has started. */
  async function startWith(code: string, delay: number): Promise<RunningNetd> {
    const preload = join(folder, 'preload.cjs')
    writeFileSync(
      preload,
      `const { isMainThread } = require('node:worker_threads'); if (!isMainThread) setTimeout(() => { ${code} }, ${delay})`,
    )
    const netd = new RunningNetd(namespace, ['model:net', '--tap', 't0'], { NODE_OPTIONS: `--require ${preload}` })
    await netd.event('ready')
    return netd
  }

  const tapIsThere = (): boolean => namespace.run('ip', '-o', 'link').includes('t0')

  it('throws: exit code 1, its text on stderr, the TAP gone', async () => {
    const netd = await startWith("throw Object.assign(new TypeError('thrown by a test'), { code: 'EPERM' })", 1500)
    expect(tapIsThere()).toBe(true)
    expect(await netd.ended).toEqual({ code: 1, signal: null })
    expect(netd.stderr).toContain("the data plane's thread failed: thrown by a test")
    expect(netd.stderr).toContain('this is a bug in netd')
    expect(tapIsThere()).toBe(false)
  })

  it('rejects unhandled: the same', async () => {
    const netd = await startWith("Promise.reject(new Error('rejected by a test'))", 1500)
    expect(await netd.ended).toEqual({ code: 1, signal: null })
    expect(netd.stderr).toContain('rejected by a test')
    expect(tapIsThere()).toBe(false)
  })

  it('ends itself: exit code 1 and a message', async () => {
    const netd = await startWith('process.exit(0)', 1500)
    expect(await netd.ended).toEqual({ code: 1, signal: null })
    expect(netd.stderr).toContain('ended by itself')
    expect(tapIsThere()).toBe(false)
  })

  it('hangs: who asks is told so, and a second signal ends it', async () => {
    const netd = await startWith('for (;;) {}', 1500)
    await sleep(2000)
    const client = await ControlClient.connect('t0', namespace.runtimeDirectory)
    await expect(client.stats()).rejects.toMatchObject({ message: expect.stringContaining('has not answered') })
    client.close()
    process.kill(netd.pid, 'SIGTERM')
    expect(await Promise.race([netd.ended, sleep(500)])).toBeUndefined()
    process.kill(netd.pid, 'SIGTERM')
    expect(await netd.ended).toEqual({ code: 143, signal: null })
    expect(tapIsThere()).toBe(false)
  })

  it('answers while it works: counters that grow, a description, packets of a capture', async () => {
    const netd = await RunningNetd.start(namespace, ['model:net', '--tap', 't0'])
    namespace.run('ip', 'addr', 'add', '10.0.0.2/24', 'dev', 't0')
    const client = await ControlClient.connect('t0', namespace.runtimeDirectory)
    const { bytes, stop } = await client.capture({})
    const chunks: Buffer[] = []
    const read = (async () => {
      for await (const chunk of bytes as AsyncIterable<Buffer>) chunks.push(chunk)
    })()
    await namespace.runAsync('ping', '-c', '5', '-i', '0.05', '10.0.0.1')
    const second = await ControlClient.connect('t0', namespace.runtimeDirectory)
    expect((await second.stats())['from_tap_frames']).toBeGreaterThanOrEqual(5)
    expect(await second.describe()).toMatchObject({ name: 't0', pid: netd.pid, function: { bus: 'model' } })
    second.close()
    stop()
    await read
    client.close()
    const file = join(folder, 'x.pcapng')
    writeFileSync(file, Buffer.concat(chunks))
    const pings = namespace.run('tcpdump', '-nr', file, 'icmp')
    expect(pings.match(/echo request/g)).toHaveLength(5)
    expect(pings.match(/echo reply/g)).toHaveLength(5)
    expect(await netd.stop()).toBe(0)
  })
})
