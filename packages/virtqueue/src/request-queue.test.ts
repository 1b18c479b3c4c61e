import { describe, expect, it } from 'vitest'
import { type Bench, requestBench, turn } from './testing/request-bench.ts'

describe('RequestQueue', () => {
  it('makes a chain of whole regions and parts of them, and resolves with what the device wrote', async () => {
    const { requests, device, allocator, region } = requestBench()
    const header = allocator.allocate(16)
    const promise = requests.request({
      readable: [header, { region, offset: 512, length: 100 }],
      writable: [{ region, offset: 4095, length: 1 }, region],
    })
    await turn()
    const [chain] = device.take()
    expect(chain?.buffers).toEqual([
      { address: header.deviceAddress, length: 16, writable: false },
      { address: region.deviceAddress + 512, length: 100, writable: false },
      { address: region.deviceAddress + 4095, length: 1, writable: true },
      { address: region.deviceAddress, length: 4096, writable: true },
    ])
    device.putUsed(chain!.id, 4000)
    expect(requests.pending).toBe(1)
    expect(requests.service()).toBe(1)
    expect(await promise).toBe(4000)
    expect(requests.pending).toBe(0)
    expect(requests.service()).toBe(0)
  })

  it('settles each promise with its own answer, in whatever order the device answers', async () => {
    const { send, take, device, requests } = requestBench()
    const sent = [0, 1, 2, 3, 4].map(() => send())
    await turn()
    const ids = take()
    for (const i of [4, 1, 3]) device.putUsed(ids[i]!, i)
    expect(requests.service()).toBe(3)
    await turn()
    expect(sent.map(({ outcome }) => outcome)).toEqual([
      undefined,
      { written: 1 },
      undefined,
      { written: 3 },
      { written: 4 },
    ])
    expect(sent.map(({ released }) => released)).toEqual([0, 1, 0, 1, 1])
    expect(requests.pending).toBe(2)
  })

  it('publishes the requests of a turn together, and those that answers give rise to as well', async () => {
    const bench = requestBench({ size: 16 })
    for (let i = 0; i < 4; i++) void bench.send().settled.then(() => bench.send())
    expect(bench.device.availableIndex).toBe(0)
    await turn()
    expect([bench.notifications, bench.device.availableIndex]).toEqual([1, 4])
    for (const id of bench.take()) bench.device.putUsed(id, 0)
    bench.requests.service()
    await turn()
    expect([bench.notifications, bench.device.availableIndex]).toEqual([2, 8])
  })

  it('service publishes what is waiting to be, for an owner that never yields', () => {
    const bench = requestBench()
    bench.send()
    expect(bench.requests.service()).toBe(0)
    expect([bench.take().length, bench.notifications]).toEqual([1, 1])
  })

  it('calls onReleased before the reactions of the promise', async () => {
    const { requests, region, device, take } = requestBench()
    const order: string[] = []
    const done = requests
      .request({ writable: [region] }, { onReleased: () => order.push('released') })
      .then(() => order.push('resolved'))
    await turn()
    device.putUsed(take()[0]!, 1)
    requests.service()
    order.push('serviced')
    await done
    expect(order).toEqual(['released', 'serviced', 'resolved'])
  })

  it('calls onPending whenever there is something to wait for again', async () => {
    const calls: number[] = []
    const bench = requestBench({}, { onPending: () => calls.push(bench.requests.pending) })
    bench.send()
    bench.send()
    expect(calls).toEqual([1])
    await turn()
    for (const id of bench.take()) bench.device.putUsed(id, 0)
    bench.requests.service()
    expect(bench.requests.pending).toBe(0)
    bench.send()
    expect(calls).toEqual([1, 1])
  })

  it('works with a device that answers within the notification and an owner that services at once', async () => {
    const bench = requestBench({
      size: 2,
      notify: () => {
        for (const { id } of bench.device.take()) bench.device.putUsed(id, 7)
        bench.requests.service()
      },
    })
    const sent = Array.from({ length: 50 }, () => bench.send())
    await Promise.all(sent.map(({ settled }) => settled))
    expect(sent.every(({ outcome, released }) => released === 1 && outcome !== undefined && 'written' in outcome)).toBe(
      true,
    )
    expect(bench.requests.pending).toBe(0)
  })
})

describe('RequestQueue: what it refuses', () => {
  const part = (offset: number, length: number) => (bench: Bench) => ({
    writable: [{ region: bench.region, offset, length }],
  })
  it.each([
    ['no buffers', () => ({})],
    [
      'more buffers than the ring has descriptors',
      (bench: Bench) => ({ writable: Array.from({ length: 9 }, () => bench.region) }),
    ],
    ['a part before its region', part(-1, 8)],
    ['a part that begins beyond its region', part(4097, 1)],
    ['a part that ends beyond its region', part(4090, 7)],
    ['a part at a fraction', part(0.5, 1)],
    ['a part of no length', part(0, 0)],
    ['a part of no number', part(0, Number.NaN)],
  ])('%s', async (_, chain) => {
    const bench = requestBench()
    let released = 0
    const promise = bench.requests.request(chain(bench), { onReleased: () => released++ })
    await expect(promise).rejects.toThrow(RangeError)
    expect([released, bench.requests.pending, bench.queue.inFlight]).toEqual([1, 0, 0])
  })

  it('D24: requests beyond a full ring wait in order, up to a bound', async () => {
    const { requests, device, take, send } = requestBench({ size: 2 }, { backlog: 3 })
    const sent = Array.from({ length: 7 }, () => send())
    await turn()
    expect(requests.pending).toBe(5)
    for (const { outcome, released } of sent.slice(5)) {
      expect(outcome).toMatchObject({ reason: { code: 'request.backlog-full', details: { queue: 3 } } })
      expect(released).toBe(1)
    }
    let written = 0
    for (let round = 0; round < 3; round++) {
      for (const id of take()) device.putUsed(id, ++written)
      requests.service()
    }
    await turn()
    expect(sent.slice(0, 5).map(({ outcome }) => outcome)).toEqual([1, 2, 3, 4, 5].map((n) => ({ written: n })))
    expect(requests.pending).toBe(0)
  })

  it('a long chain at the front of the backlog is not overtaken', async () => {
    const { requests, device, take, region, send } = requestBench({ size: 4 })
    const order: string[] = []
    const request = (name: string, count: number) =>
      void requests.request({ writable: Array.from({ length: count }, () => region) }).then(() => order.push(name))
    send()
    await turn()
    const [first] = take()
    request('long', 4)
    request('short', 1)
    await turn()
    expect(take()).toEqual([])
    device.putUsed(first!, 0)
    requests.service()
    for (let i = 0; i < 2; i++) {
      for (const id of take()) device.putUsed(id, 0)
      requests.service()
    }
    await turn()
    expect(order).toEqual(['long', 'short'])
  })
})

describe('RequestQueue: aborting', () => {
  it('D21: rejects at once, but the buffers stay the device’s until it has used them', async () => {
    const { requests, device, take, send } = requestBench()
    const controller = new AbortController()
    const sent = send(controller.signal)
    await turn()
    const [id] = take()
    const reason = new Error('took too long')
    controller.abort(reason)
    await turn()
    expect(sent.outcome).toEqual({ reason })
    expect([sent.released, requests.pending]).toEqual([0, 1])
    device.putUsed(id!, 64)
    expect(requests.service()).toBe(1)
    expect([sent.released, requests.pending]).toEqual([1, 0])
    await turn()
    expect(sent.outcome).toEqual({ reason })
  })

  it('before the start: nothing reaches the device', async () => {
    const { requests, take, send } = requestBench()
    const sent = send(AbortSignal.abort('no'))
    await turn()
    expect(sent.outcome).toEqual({ reason: 'no' })
    expect([sent.released, requests.pending, take()]).toEqual([1, 0, []])
  })

  it('in the backlog: the request never reaches the device, and makes room', async () => {
    const { requests, device, take, send } = requestBench({ size: 1 }, { backlog: 1 })
    const first = send()
    const controller = new AbortController()
    const second = send(controller.signal)
    await turn()
    controller.abort('changed my mind')
    const third = send()
    await turn()
    expect([second.outcome, second.released]).toEqual([{ reason: 'changed my mind' }, 1])
    for (let i = 0; i < 2; i++) {
      for (const id of take()) device.putUsed(id, 5)
      requests.service()
    }
    await turn()
    expect([first.outcome, third.outcome, second.released]).toEqual([{ written: 5 }, { written: 5 }, 1])
  })

  it('after the answer: has no effect, and leaves no listener on the signal', async () => {
    const { requests, device, take, send } = requestBench()
    const controller = new AbortController()
    let listeners = 0
    const { addEventListener, removeEventListener } = controller.signal
    controller.signal.addEventListener = function (
      this: AbortSignal,
      ...args: Parameters<AbortSignal['addEventListener']>
    ) {
      listeners++
      addEventListener.apply(this, args)
    } as AbortSignal['addEventListener']
    controller.signal.removeEventListener = function (
      this: AbortSignal,
      ...args: Parameters<AbortSignal['removeEventListener']>
    ) {
      listeners--
      removeEventListener.apply(this, args)
    } as AbortSignal['removeEventListener']
    const sent = send(controller.signal)
    await turn()
    expect(listeners).toBe(1)
    device.putUsed(take()[0]!, 3)
    requests.service()
    expect(listeners).toBe(0)
    controller.abort()
    await turn()
    expect([sent.outcome, sent.released]).toEqual([{ written: 3 }, 1])
  })
})
