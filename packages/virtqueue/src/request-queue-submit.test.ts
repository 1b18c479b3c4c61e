import { describe, expect, it } from 'vitest'
import { ChainBuilder } from './chain-builder.ts'
import type { SubmittedRequest } from './request-queue.ts'
import { type Bench, requestBench, reset, turn } from './testing/request-bench.ts'

/** A request that writes down what it is told. */
function request(bench: Bench, buffers = 1): SubmittedRequest & { readonly told: unknown[] } {
  const told: unknown[] = []
  const chain = new ChainBuilder(Math.max(1, buffers))
  for (let n = 0; n < buffers; n++) chain.addWritable(bench.region.deviceAddress, 64)
  return {
    told,
    chain,
    resolve: (written) => told.push(written),
    reject: (reason) => told.push(reason),
    onReleased: () => told.push('released'),
  }
}

describe('RequestQueue: submitted requests', () => {
  it('are told what the device wrote, then that the buffers are theirs, and may be submitted again', async () => {
    const bench = requestBench()
    const own = request(bench)
    for (let round = 1; round <= 100; round++) {
      bench.requests.submit(own)
      expect(bench.requests.pending).toBe(1)
      await turn()
      for (const id of bench.take()) bench.device.putUsed(id, round % 64)
      expect(bench.requests.service()).toBe(1)
      expect(own.told.splice(0)).toEqual([round % 64, 'released'])
    }
  })

  it('wait for room in turn with the others', async () => {
    const bench = requestBench({ size: 2 })
    const sent = [bench.send(), bench.send()]
    const own = request(bench)
    bench.requests.submit(own)
    await turn()
    for (const id of bench.take()) bench.device.putUsed(id, 5)
    bench.requests.service()
    await turn()
    expect(sent.map(({ outcome }) => outcome)).toEqual([{ written: 5 }, { written: 5 }])
    for (const id of bench.take()) bench.device.putUsed(id, 6)
    bench.requests.service()
    expect(own.told).toEqual([6, 'released'])
  })

  it('wake an owner who polls', () => {
    let woken = 0
    const bench = requestBench({}, { onPending: () => woken++ })
    bench.requests.submit(request(bench))
    bench.requests.submit(request(bench))
    expect(woken).toBe(1)
  })

  it('are refused at once, and told nothing, where they cannot be', async () => {
    const bench = requestBench({ size: 2 }, { backlog: 1 })
    const odd = [request(bench, 0), request(bench, 3)]
    for (const one of odd) expect(() => bench.requests.submit(one)).toThrow(RangeError)
    bench.send()
    bench.send()
    bench.requests.submit(request(bench))
    const late = request(bench)
    expect(() => bench.requests.submit(late)).toThrow(expect.objectContaining({ code: 'request.backlog-full' }))
    await turn()
    bench.take()
    bench.device.putUsed(0x10000, 0)
    bench.requests.service()
    expect(() => bench.requests.submit(late)).toThrow(expect.objectContaining({ code: 'ring.id-range' }))
    expect([...odd, late].flatMap(({ told }) => told)).toEqual([])
  })

  it('are rejected when the queue breaks, and released when its reset is confirmed', async () => {
    const bench = requestBench({ size: 2 })
    const inRing = [request(bench), request(bench)]
    const waiting = request(bench)
    for (const one of [...inRing, waiting]) bench.requests.submit(one)
    await turn()
    bench.take()
    bench.device.putUsed(0x10000, 0)
    bench.requests.service()
    const reason = bench.queue.broken
    expect(inRing.map(({ told }) => told)).toEqual([[reason], [reason]])
    expect(waiting.told).toEqual([reason, 'released'])
    bench.queue.reset()
    bench.requests.reset(reset)
    for (const { told } of inRing) expect(told).toEqual([reason, reset, 'released'])
  })
})
