import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import { enterNewNetworkNamespace } from '@virtio-ts/native'
import { isVirtioError } from '@virtio-ts/spec'
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { NetSession } from '../../apps/netd/src/session/net-session.ts'
import { type OpenModel, openModel } from '../../apps/netd/src/session/open-model.ts'
import type { SessionEvent } from '../../apps/netd/src/session/session-event.ts'
import { requirement } from '../requirements.ts'

const run = promisify(execFile)

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 1500; i++) {
    if (condition()) return
    await sleep(10)
  }
  throw new Error(`never happened: ${what}`)
}

requirement(
  'root',
  'tun',
  'netns',
  'ping',
)('a device that fails and comes back', () => {
  let session: NetSession
  let device: OpenModel
  let events: SessionEvent[]

  beforeAll(() => enterNewNetworkNamespace())

  beforeEach(async () => {
    events = []
    session = await NetSession.open(
      { locator: 'test', tap: 't0', withoutFeatures: [], poll: false },
      async () => {
        device = await openModel({ profile: 'strict' })
        return device
      },
      (event) => events.push(event),
    )
    execFileSync('ip', ['addr', 'add', '10.0.0.2/24', 'dev', 't0'])
  })

  afterEach(() => session.stop())

  const ping = (): Promise<unknown> => run('ping', ['-c', '1', '-W', '2', '10.0.0.1'])
  const named = (name: SessionEvent['event']): SessionEvent[] => events.filter(({ event }) => event === name)

  it('C18: NEEDS_RESET is answered by a reset, and the interface works again', async () => {
    await ping()
    device.fn.core.needsReset('as the test wants it')
    await until(() => named('reset').length === 1, 'reset')
    expect(named('fault')).toMatchObject([{ code: 'device.needs-reset' }])
    await ping()
    expect(session.stats()).toMatchObject({ resets: 1 })
    expect(session.describe().state).toBe('running')
    expect(device.fn.violations).toEqual([])
  })

  it('C19: one that fails again and again is given longer pauses, and then up', async () => {
    for (let round = 1; round <= 5; round++) {
      device.fn.core.needsReset('again')
      await until(() => named('reset').length === round, `reset ${round}`)
    }
    device.fn.core.needsReset('once more')
    const reason = await session.ended
    expect(isVirtioError(reason) && reason.code).toBe('device.needs-reset')
    expect(named('reset')).toHaveLength(5)
  })

  it('C16: one whose reset is not confirmed once is tried again, and its memory never used again', async () => {
    const { reset } = device.fn.core
    let refusals = 1
    // The status stays as it is: the transport waits, and gives up.
    device.fn.core.reset = () => {
      if (refusals-- > 0) return false
      device.fn.core.reset = reset
      return reset.call(device.fn.core)
    }
    device.fn.core.needsReset('as the test wants it')
    await until(() => named('reset').length === 1, 'reset')
    await ping()
    expect(device.fn.dma.stats.quarantinedBytes).toBeGreaterThan(0)
  })

  it('one that is unplugged ends the session at once', async () => {
    device.fn.unplug()
    const reason = await session.ended
    expect(isVirtioError(reason) && reason.code).toBe('device.gone')
    expect(named('reset')).toHaveLength(0)
  })

  it('stop while recovering ends in order', async () => {
    for (let round = 1; round <= 3; round++) {
      device.fn.core.needsReset('again')
      await until(() => named('reset').length === round, `reset ${round}`)
    }
    device.fn.core.needsReset('and now in the long pause')
    await until(() => named('fault').length === 4, 'fault')
    await session.stop()
    expect(device.fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await sleep(2000)
    expect(named('reset')).toHaveLength(3)
  })
})
