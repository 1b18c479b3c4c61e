import type { RequestQueue, Virtqueue } from '@virtio-ts/virtqueue'
import { describe, expect, it } from 'vitest'
import { RequestPoller } from './request-poller.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('RequestPoller', () => {
  it('looks once a turn, also when each request is made while the one before it ends', async () => {
    let looks = 0
    let left = 20
    const requests = {
      get pending() {
        return left
      },
      service: () => {
        looks++
        left--
        // As a queue does whose `pending` rises from 0 within `service`.
        poller.start()
      },
    }
    const poller = new RequestPoller(requests as unknown as RequestQueue, () => ({}) as Virtqueue)
    poller.start()
    poller.start()
    for (let n = 1; n <= 20; n++) {
      await turn()
      expect(looks).toBe(n)
    }
    for (let n = 0; n < 3; n++) await turn()
    expect(looks).toBe(20)
    left = 2
    poller.start()
    for (let n = 0; n < 3; n++) await turn()
    expect(looks).toBe(22)
  })

  it('stops at a queue that broke, and polls the one that takes its place', async () => {
    let looks = 0
    let broken: unknown = new Error('broken')
    const requests = { pending: 1, service: () => looks++ }
    const poller = new RequestPoller(requests as unknown as RequestQueue, () => ({ broken }) as Virtqueue)
    poller.start()
    for (let n = 0; n < 3; n++) await turn()
    expect(looks).toBe(1)
    broken = undefined
    poller.start()
    await turn()
    await turn()
    expect(looks).toBe(3)
    requests.pending = 0
  })
})
