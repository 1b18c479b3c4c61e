import { deviceAddress, type DmaRegion } from '@virtio-ts/memory'
import { expect, it } from 'vitest'
import { StagingPool } from './staging-pool.ts'

function memory(limit = Number.POSITIVE_INFINITY) {
  const state = { taken: 0 }
  const allocate = (length: number): DmaRegion => {
    if (state.taken + length > limit) throw new Error('no memory')
    state.taken += length
    return { bytes: new Uint8Array(length), deviceAddress: deviceAddress(0), length }
  }
  return { state, allocate }
}

it('takes memory as it is needed, and no more than it may', () => {
  const { state, allocate } = memory()
  const pool = new StagingPool({ allocate, slots: 1000, memory: 2 ** 20, bufferLength: 65536 })
  expect(state.taken).toBe(0)
  const one = pool.tryAcquire(1)
  expect(one?.buffers.length).toBe(1)
  expect(state.taken).toBeLessThan(300_000)
  expect(pool.tryAcquire(15)?.buffers.length).toBe(15)
  expect(pool.tryAcquire(1)).toBeUndefined()
  expect(state.taken).toBeLessThan(2 ** 20 + 40_000)
  expect(pool.tryAcquire(0)).toBeDefined()
})

it('hands no memory out twice, and uses again what came back', () => {
  const { allocate } = memory()
  const pool = new StagingPool({ allocate, slots: 4, memory: 8 * 512, bufferLength: 512 })
  const leases = [2, 3, 3].map((count) => pool.tryAcquire(count)!)
  const places = leases.flatMap(({ buffers }) => buffers.map(({ offset }) => offset))
  expect(new Set(places).size).toBe(8)
  expect(new Set(leases.map(({ slot }) => slot)).size).toBe(3)
  leases[0]?.letGo()
  expect(pool.tryAcquire(1)).toBeUndefined()
  // Both the caller and the device have to let go.
  leases[0]?.letGo()
  expect(pool.tryAcquire(2)?.buffers.length).toBe(2)
})

it('serves in turn, and turns away those that cannot be served any more', async () => {
  const { allocate } = memory()
  const pool = new StagingPool({ allocate, slots: 2, memory: 1024, bufferLength: 512 })
  const first = pool.tryAcquire(2)!
  const order: string[] = []
  const large = pool.acquire(2, undefined).then((lease) => {
    order.push('large')
    return lease
  })
  const small = pool.acquire(0, undefined).then(() => order.push('small'))
  await Promise.resolve()
  expect([pool.waiting, order.length]).toEqual([2, 0])
  first.letGo()
  first.letGo()
  await Promise.all([large, small])
  expect(order).toEqual(['large', 'small'])
  const waiting = pool.acquire(1, undefined)
  pool.close(new Error('closed'))
  await expect(waiting).rejects.toThrow('closed')
  await expect(pool.acquire(0, undefined)).rejects.toThrow('closed')
  expect(() => pool.tryAcquire(0)).toThrow('closed')
})

it('goes on with less when there is not as much memory as it may have', async () => {
  const { allocate } = memory(300_000)
  const pool = new StagingPool({ allocate, slots: 100, memory: 2 ** 20, bufferLength: 65536 })
  const first = pool.tryAcquire(4)!
  const waiting = pool.acquire(1, undefined)
  expect(pool.waiting).toBe(1)
  first.letGo()
  first.letGo()
  expect((await waiting).buffers.length).toBe(1)
  // More than there will ever be: said at once, rather than waited for.
  await expect(pool.acquire(5, undefined)).rejects.toThrow('no memory')
})

it('says so when there is no memory at all', () => {
  const { allocate } = memory(100)
  const pool = new StagingPool({ allocate, slots: 100, memory: 2 ** 20, bufferLength: 65536 })
  expect(() => pool.tryAcquire(0)).toThrow('no memory')
})
