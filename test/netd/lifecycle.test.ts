import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { NetworkNamespace } from '../support/network-namespace.ts'
import { RunningNetd } from '../support/running-netd.ts'
import { lease } from '../support/transfer.ts'

/** Children of a process, whichever of its threads started them: netd's QEMU is one. */
function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  )
}

/** A process that ended stays listed as a zombie until somebody asks for its status: that counts as ended. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

requirement(
  'root',
  'tun',
  'netns',
  'qemu',
  'udhcpc',
  'ping',
)('netd run: the end of things', () => {
  let namespace: NetworkNamespace

  beforeEach(() => {
    namespace = NetworkNamespace.create()
  })

  afterEach(() => namespace.close())

  it('QEMU killed under traffic: exit code 69 within a second, TAP gone', async () => {
    const netd = await RunningNetd.start(namespace, ['qemu:virtio-net-pci;netdev=user', '--tap', 't0'])
    await lease(namespace, 't0')
    const flood = namespace.spawn('ping', ['-f', '-q', '10.0.2.2'], { stdio: 'ignore' })
    await sleep(300)
    const [qemu] = childrenOf(netd.pid)
    expect(qemu).toBeDefined()
    process.kill(qemu as number, 'SIGKILL')
    const late = sleep(1000).then(() => 'still running')
    // The one bound on time in these tests is the promise itself: an operator's supervisor waits for this exit.
    expect(await Promise.race([netd.ended, late])).toEqual({ code: 69, signal: null })
    flood.kill()
    expect(() => namespace.run('ip', 'link', 'show', 't0')).toThrow('does not exist')
    expect(netd.events.map(({ event }) => event)).toContain('fault')
  })

  it('netd killed with SIGKILL takes QEMU and the TAP with it', async () => {
    const netd = await RunningNetd.start(namespace, ['qemu:virtio-net-pci;netdev=user', '--tap', 't0'])
    const [qemu] = childrenOf(netd.pid)
    process.kill(netd.pid, 'SIGKILL')
    await netd.ended
    for (let i = 0; i < 50 && isRunning(qemu as number); i++) await sleep(20)
    expect(isRunning(qemu as number)).toBe(false)
    expect(() => namespace.run('ip', 'link', 'show', 't0')).toThrow('does not exist')
  })

  it('a TAP deleted from outside ends netd with a message that says so', async () => {
    const netd = await RunningNetd.start(namespace, ['qemu:virtio-net-pci;netdev=user', '--tap', 't0'])
    namespace.run('ip', 'link', 'delete', 't0')
    const { code } = await netd.ended
    expect(code).toBe(75)
    expect(netd.stderr).toContain('t0 is gone')
  })

  it('a second netd on the same TAP is refused, the first goes on', async () => {
    const first = await RunningNetd.start(namespace, ['qemu:virtio-net-pci;netdev=user', '--tap', 't0'])
    const second = new RunningNetd(namespace, ['qemu:virtio-net-pci;netdev=user', '--tap', 't0'])
    expect((await second.ended).code).toBe(73)
    expect(await lease(namespace, 't0')).toBe('10.0.2.15')
    expect(await first.stop()).toBe(0)
  })

  it('stops in order at SIGTERM while frames arrive', async () => {
    const netd = await RunningNetd.start(namespace, ['qemu:virtio-net-pci;netdev=user', '--tap', 't0'])
    await lease(namespace, 't0')
    const flood = namespace.spawn('ping', ['-f', '-q', '10.0.2.2'], { stdio: 'ignore' })
    await sleep(200)
    expect(await netd.stop()).toBe(0)
    flood.kill()
    expect(netd.events.at(-1)).toMatchObject({ event: 'stopped' })
  })
})
