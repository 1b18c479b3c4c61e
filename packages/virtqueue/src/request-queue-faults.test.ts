import { VirtioError } from '@virtio-ts/spec'
import { describe, expect, it } from 'vitest'
import { type Bench, requestBench, reset, type Sent, turn } from './testing/request-bench.ts'
import { ringBench } from './testing/ring-bench.ts'
import { uncaughtExceptions } from './testing/uncaught-exceptions.ts'
import { RequestQueue } from './request-queue.ts'

describe('RequestQueue: faults', () => {
  it('a broken queue rejects everybody with its reason; buffers in the ring stay the device’s until its reset', async () => {
    const { requests, device, take, send, queue } = requestBench({ size: 2 })
    const controller = new AbortController()
    const inRing = [send(), send(controller.signal)]
    const waiting = [send(), send()]
    await turn()
    controller.abort('mine')
    take()
    device.putUsed(0x10000, 0)
    expect(requests.service()).toBe(0)
    await turn()
    const reason = queue.broken
    expect(reason?.code).toBe('ring.id-range')
    expect(inRing.map(({ outcome, released }) => [outcome, released])).toEqual([
      [{ reason }, 0],
      [{ reason: 'mine' }, 0],
    ])
    expect(waiting.map(({ outcome, released }) => [outcome, released])).toEqual([
      [{ reason }, 1],
      [{ reason }, 1],
    ])
    expect(requests.pending).toBe(2)
    const late = send()
    await turn()
    expect([late.outcome, late.released]).toEqual([{ reason }, 1])
    expect(requests.service()).toBe(0)

    queue.reset()
    requests.reset(reset)
    await turn()
    expect([...inRing, ...waiting].map(({ released }) => released)).toEqual([1, 1, 1, 1])
    expect(inRing[0]!.outcome).toEqual({ reason })
    expect(requests.pending).toBe(0)
  })

  it('what was used before the violation is resolved, not rejected', async () => {
    const { requests, device, take, send } = requestBench()
    const sent = [send(), send(), send()]
    await turn()
    const ids = take()
    device.putUsed(ids[1]!, 11)
    device.putUsed(ids[1]!, 11)
    expect(requests.service()).toBe(1)
    await turn()
    expect(sent[1]!.outcome).toEqual({ written: 11 })
    expect(sent[0]!.outcome).toMatchObject({ reason: { code: 'ring.not-head' } })
    expect(sent.map(({ released }) => released)).toEqual([0, 1, 0])
  })

  it('fail from outside rejects at once', async () => {
    const { queue, send, requests } = requestBench()
    const sent = send()
    await turn()
    const gone = new VirtioError('device.gone', 'The device is gone.')
    queue.fail(gone)
    await turn()
    expect(sent.outcome).toEqual({ reason: gone })
    expect(requests.service()).toBe(0)
  })

  it('on a queue that is broken already, requests reject', async () => {
    const { queue, allocator } = ringBench()
    const gone = new VirtioError('device.gone', 'The device is gone.')
    queue.fail(gone)
    const requests = new RequestQueue(queue)
    await expect(requests.request({ readable: [allocator.allocate(1)] })).rejects.toBe(gone)
  })

  it('after a reset it works again', async () => {
    const { requests, device, take, send, queue } = requestBench({ size: 2 })
    const old = [send(), send(), send()]
    await turn()
    take()
    queue.reset()
    requests.reset(reset)
    device.held.clear()
    device.nextAvailable = 0
    await turn()
    expect(old.map(({ outcome, released }) => [outcome, released])).toEqual(old.map(() => [{ reason: reset }, 1]))
    const fresh = [send(), send(), send()]
    await turn()
    for (let i = 0; i < 2; i++) {
      for (const id of take()) device.putUsed(id, 9)
      requests.service()
    }
    await turn()
    expect(fresh.map(({ outcome }) => outcome)).toEqual(fresh.map(() => ({ written: 9 })))
  })

  it('D23: a reset while used buffers are settled ends the rest of them; the new generation never sees them', async () => {
    const bench = requestBench({ size: 4 })
    const { requests, device, queue, region, take, send } = bench
    const fresh: Sent[] = []
    const old = [send()]
    void requests.request({ writable: [region] }, { onReleased: () => restart() }).catch(() => {})
    old.push(send(), send())
    await turn()
    for (const id of take()) device.putUsed(id, 1)
    expect(requests.service()).toBe(4)
    await turn()
    expect(old.map(({ outcome, released }) => [outcome, released])).toEqual([
      [{ written: 1 }, 1],
      [{ reason: reset }, 1],
      [{ reason: reset }, 1],
    ])
    expect(fresh.map(({ outcome }) => outcome)).toEqual([undefined, undefined, undefined])
    for (const id of take()) device.putUsed(id, 2)
    requests.service()
    await turn()
    expect(fresh.map(({ outcome, released }) => [outcome, released])).toEqual(fresh.map(() => [{ written: 2 }, 1]))
    expect(requests.pending).toBe(0)

    function restart(): void {
      queue.reset()
      requests.reset(reset)
      device.held.clear()
      device.nextAvailable = 0
      device.usedIndex = 0
      for (let i = 0; i < 3; i++) fresh.push(send())
    }
  })

  it('D22: against a device that always has one more it yields to the event loop after a ring’s worth', async () => {
    let left = 100
    const bench: Bench = requestBench({
      size: 4,
      notify: () => {
        for (const { id } of bench.device.take()) bench.device.putUsed(id, 0)
      },
    })
    const again = (): void => {
      if (left-- > 0) void bench.requests.request({ writable: [bench.region] }, { onReleased: again })
    }
    for (let i = 0; i < 4; i++) again()
    expect(bench.requests.service()).toBe(4)
    expect(left).toBe(92)
    let turns = 0
    for (; left > 0 || bench.requests.pending > 0; turns++) await turn()
    expect(turns).toBeGreaterThan(20)
  })

  it('what a listener throws stops nothing, and is not lost', async () => {
    const bench = requestBench(
      {},
      {
        onPending: () => {
          throw new Error('onPending')
        },
      },
    )
    const { requests, region, device, take, send } = bench
    const uncaught = uncaughtExceptions(2)
    void requests.request(
      { writable: [region] },
      {
        onReleased: () => {
          throw new Error('onReleased')
        },
      },
    )
    const sent = send()
    await turn()
    for (const id of take()) device.putUsed(id, 1)
    expect(requests.service()).toBe(2)
    await turn()
    expect(sent.outcome).toEqual({ written: 1 })
    expect((await uncaught).map((error) => (error as Error).message)).toEqual(['onPending', 'onReleased'])
  })
})
