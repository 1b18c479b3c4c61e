import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { enterNewNetworkNamespace, openFdCount } from '@virtio-ts/native'
import { beforeAll, expect, it, vi } from 'vitest'
import { mayMakeTaps } from '../test/may-make-taps.ts'
import { watchLinks } from './link-watch.ts'
import { requirement } from '../../../test/requirements.ts'

/** Each test file is a process of its own: this one leaves the machine's network for good. */
requirement(() => (mayMakeTaps() ? undefined : 'may not make TAP interfaces'))('watchLinks', () => {
  beforeAll(() => enterNewNetworkNamespace())

  it('calls when a link has changed, and is silent otherwise', async () => {
    const before = openFdCount()
    let calls = 0
    const stop = watchLinks(() => (calls += 1))
    await sleep(20)
    expect(calls).toBe(0)
    execFileSync('ip', ['link', 'set', 'lo', 'mtu', '2000'])
    await vi.waitFor(() => expect(calls).toBeGreaterThan(0))
    // A message that were not taken would call again and again.
    await sleep(20)
    expect(calls).toBeLessThan(5)
    const soFar = calls
    execFileSync('ip', ['link', 'set', 'lo', 'mtu', '3000'])
    await vi.waitFor(() => expect(calls).toBeGreaterThan(soFar))
    stop()
    stop()
    expect(openFdCount()).toBe(before)
  })

  it('goes on after more messages than the kernel keeps', async () => {
    let calls = 0
    const stop = watchLinks(() => (calls += 1))
    // The event loop stands still meanwhile: nobody takes the messages.
    const script = Array.from({ length: 3000 }, (_, i) => `link set lo mtu ${2000 + (i % 2)}`).join('\n')
    execFileSync('ip', ['-batch', '-'], { input: script })
    await vi.waitFor(() => expect(calls).toBeGreaterThan(0))
    await sleep(20)
    const soFar = calls
    execFileSync('ip', ['link', 'set', 'lo', 'mtu', '5000'])
    await vi.waitFor(() => expect(calls).toBeGreaterThan(soFar))
    stop()
  })
})
