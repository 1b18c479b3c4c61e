import { execFileSync } from 'node:child_process'
import { enterNewNetworkNamespace } from '@virtio-ts/native'
import { beforeAll, beforeEach, expect, it } from 'vitest'
import { interfaceState, readInterface } from '../../apps/netd/src/takeover/interface-state.ts'
import { ipCommand } from '../../apps/netd/src/takeover/ip-command.ts'
import { restoreInterface } from '../../apps/netd/src/takeover/restore-interface.ts'
import { requirement } from '../requirements.ts'

function ip(...args: readonly string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** A cable with one end called `name`; taking it away takes everything from it, as unbinding a NIC's driver does. */
function plug(name: string, far = 'far'): void {
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', far)
  ip('link', 'set', far, 'up')
}

function unplug(name: string): void {
  ip('link', 'delete', name)
}

/** What people see of it, without what differs from one interface to the next of the same name. */
function seen(name: string): unknown {
  const volatile = new Set(['ifindex', 'link_index', 'qdisc', 'link', 'parentbus', 'parentdev', 'tentative'])
  const clean = (text: string): unknown => JSON.parse(text, (key, value) => (volatile.has(key) ? undefined : value))
  const routes = (family: string): unknown =>
    (clean(ip('-json', family, 'route', 'show', 'table', 'all')) as { dev?: string }[])
      .filter(({ dev }) => !dev?.startsWith('far'))
      .toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
  return {
    address: clean(ip('-json', 'address', 'show', 'dev', name)),
    routes: routes('-4'),
    routes6: routes('-6'),
  }
}

/** Addresses are announced for a second or two before they are anybody's. */
async function settled(name: string): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if (!ip('-6', 'address', 'show', 'dev', name).includes('tentative')) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('addresses stay tentative')
}

requirement(
  'root',
  'netns',
  'ip',
)('an interface that comes back, by the kernel and iproute2', () => {
  // This file's process alone moves.
  beforeAll(() => {
    enterNewNetworkNamespace()
    ip('link', 'set', 'lo', 'up')
  })

  beforeEach(() => {
    for (const name of ['nic0', 'ens9', 'br0', 'other']) {
      try {
        unplug(name)
      } catch {
        // Not there.
      }
    }
    plug('nic0')
  })

  /** Takes the interface away, plugs in another one that is called `name`, and restores it there. */
  async function throughJournal(name: string): Promise<readonly string[]> {
    await settled('nic0')
    const before = seen('nic0')
    const text = JSON.stringify(await readInterface(ipCommand, 'nic0'))
    unplug('nic0')
    plug(name)
    const problems = await restoreInterface(ipCommand, name, interfaceState(JSON.parse(text), 'test'), 0)
    await settled('nic0')
    if (problems.length === 0) expect(seen('nic0')).toEqual(before)
    return problems
  }

  it('has its MAC, MTU, addresses of both families and routes again, under its own name', async () => {
    ip('link', 'set', 'nic0', 'address', '02:00:00:00:00:77', 'mtu', '1400')
    ip('address', 'add', '10.7.0.2/24', 'broadcast', '+', 'dev', 'nic0')
    ip('address', 'add', '10.7.0.3/24', 'dev', 'nic0', 'label', 'nic0:1')
    ip('address', 'add', '10.8.0.1', 'peer', '10.8.0.2/32', 'dev', 'nic0')
    ip('address', 'add', '10.9.0.1/24', 'dev', 'nic0', 'noprefixroute', 'metric', '50')
    ip('link', 'set', 'nic0', 'up')
    ip('-6', 'address', 'add', 'fd07::2/64', 'dev', 'nic0')
    ip('-6', 'address', 'add', 'fd07:1::2/64', 'nodad', 'dev', 'nic0')
    await settled('nic0')
    ip('route', 'add', 'default', 'via', '10.7.0.1', 'dev', 'nic0', 'proto', 'static', 'metric', '100')
    ip('route', 'add', '192.168.0.0/16', 'via', '10.7.0.1', 'src', '10.7.0.3', 'mtu', '1300', 'advmss', '1200')
    ip('route', 'add', '192.168.9.1', 'dev', 'nic0', 'scope', 'link', 'table', '100')
    ip('route', 'add', '172.16.0.0/12', 'via', '203.0.113.1', 'dev', 'nic0', 'onlink')
    ip('route', 'add', '172.31.0.0/16', 'via', 'inet6', 'fd07::1', 'dev', 'nic0')
    ip('-6', 'route', 'add', 'default', 'via', 'fd07::1', 'dev', 'nic0', 'pref', 'high')
    ip('-6', 'route', 'add', 'fd99::/16', 'via', 'fd07::9', 'dev', 'nic0', 'src', 'fd07::2', 'metric', '7')
    expect(await throughJournal('nic0')).toEqual([])
    expect(await throughJournal('ens9')).toEqual([])
  })

  it('is a port of its bridge again, and one that was down stays so', async () => {
    ip('link', 'add', 'br0', 'type', 'bridge')
    ip('link', 'set', 'nic0', 'master', 'br0')
    ip('address', 'add', '10.7.0.2/24', 'dev', 'nic0')
    expect(await throughJournal('ens9')).toEqual([])
  })

  it('shares a route with another interface again', async () => {
    plug('other', 'far-other')
    ip('link', 'set', 'other', 'up')
    ip('address', 'add', '10.6.0.2/24', 'dev', 'other')
    ip('address', 'add', '10.7.0.2/24', 'dev', 'nic0')
    ip('link', 'set', 'nic0', 'up')
    await settled('other')
    ip('route', 'add', '192.168.0.0/16', 'nexthop', 'via', '10.6.0.1', 'weight', '3', 'nexthop', 'via', '10.7.0.1')
    expect(await throughJournal('ens9')).toEqual([])
  })

  it('done twice is done once', async () => {
    ip('address', 'add', '10.7.0.2/24', 'dev', 'nic0')
    ip('link', 'set', 'nic0', 'up')
    ip('route', 'add', 'default', 'via', '10.7.0.1')
    await settled('nic0')
    const before = seen('nic0')
    const state = await readInterface(ipCommand, 'nic0')
    expect(await restoreInterface(ipCommand, 'nic0', state, 0)).toEqual([])
    expect(seen('nic0')).toEqual(before)
  })

  it('pushes no route out that took its place meanwhile, and says so', async () => {
    plug('other', 'far-other')
    ip('link', 'set', 'other', 'up')
    ip('address', 'add', '10.6.0.2/24', 'dev', 'other')
    ip('address', 'add', '10.7.0.2/24', 'dev', 'nic0')
    ip('link', 'set', 'nic0', 'up')
    ip('route', 'add', 'default', 'via', '10.7.0.1')
    const state = await readInterface(ipCommand, 'nic0')
    unplug('nic0')
    ip('route', 'add', 'default', 'via', '10.6.0.1')
    plug('nic0')
    expect(await restoreInterface(ipCommand, 'nic0', state, 0)).toEqual([
      'the route default via 10.7.0.1: RTNETLINK answers: File exists',
    ])
    expect(ip('route', 'show', 'default')).toContain('via 10.6.0.1')
  })

  it('that is not there is an error with the words of ip', async () => {
    await expect(readInterface(ipCommand, 'nobody')).rejects.toMatchObject({
      code: 'takeover.ip',
      why: [expect.stringContaining('does not exist')],
    })
  })
})
