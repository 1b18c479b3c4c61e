import type { DeviceAddress } from '@virtio-ts/memory'
import { type UsedBatch, usedBatch, type Virtqueue } from '@virtio-ts/virtqueue'
import { expect, it } from 'vitest'
import type { DeviceSide } from './device-side.ts'

export interface LaneBench {
  readonly queue: Virtqueue
  readonly device: DeviceSide
  readonly address: DeviceAddress
  readonly inOrder: boolean
}

const STRIDE = 64
const LENGTH = 48

/** What the contract says of lanes: their buffers reach the device and come back, lap after lap, in whatever order. */
export function virtqueueLanes(bench: (setup?: { readonly size?: number }) => LaneBench): void {
  for (const count of [8, 5]) {
    it(`as a lane of ${count} buffers the device writes, gives each of them again and again`, () => {
      const { queue, device, address, inOrder } = bench()
      const lane = queue.openWritableLane({ address, stride: STRIDE, length: LENGTH, count })
      const batch = usedBatch(count)
      lane.renew(count)
      lane.publish()
      let back = Array.from({ length: count }, (_, i) => i)
      for (let lap = 0; lap < 40; lap++) {
        const taken = device.takeAvailable()
        expect(taken.map(({ buffers }) => buffers)).toEqual(
          back.map((place) => [{ address: address + STRIDE * place, length: LENGTH, writable: true }]),
        )
        // Every third lap backwards, where that is allowed, and now and then a batch in one go.
        const order = Array.from(taken.keys())
        if (!inOrder && lap % 3 === 2) order.reverse()
        if (inOrder && lap % 3 === 2)
          device.putUsedBatch(
            taken.map(({ id }) => id),
            LENGTH,
          )
        else for (const i of order) device.putUsed(taken[i]!.id, LENGTH)
        const given = pop(lane, batch)
        expect(given).toEqual(order.map((i) => [back[i], LENGTH]))
        back = given.map(([place]) => place!)
        lane.renew(count)
        lane.publish()
      }
      expect([queue.inFlight, queue.broken]).toEqual([count, undefined])
    })

    it(`as a lane of ${count} buffers the device reads, takes them in any order, and others in their places`, () => {
      const { queue, device, address } = bench()
      const lane = queue.openReadableLane({ address, stride: STRIDE, length: LENGTH, count })
      for (let lap = 0; lap < 40; lap++) {
        const places = Array.from({ length: count }, () => lane.reserve())
        expect([new Set(places).size, lane.reserve()]).toEqual([count, -1])
        if (lap % 5 === 4) places.reverse()
        if (lap % 7 === 6) lane.cancel(places.pop()!)
        const elsewhere = lap % 4 === 3 ? places[1]! : -1
        for (const place of places) {
          if (place === elsewhere) lane.addElsewhere(place, (address + 1024) as DeviceAddress, 1000)
          else lane.add(place, 1 + place)
        }
        expect(device.takeAvailable()).toEqual([])
        lane.publish()
        const taken = device.takeAvailable()
        expect(taken.map(({ buffers }) => buffers)).toEqual(
          places.map((place) =>
            place === elsewhere
              ? [{ address: address + 1024, length: 1000, writable: false }]
              : [{ address: address + STRIDE * place, length: 1 + place, writable: false }],
          ),
        )
        for (const { id } of taken) device.putUsed(id, 0)
        expect(lane.reclaim()).toBe(places.length)
      }
    })
  }

  it('as a lane, notifies and is notified as ever', () => {
    const { queue, device, address } = bench()
    const lane = queue.openReadableLane({ address, stride: STRIDE, length: LENGTH, count: 8 })
    device.requestNotification()
    lane.add(lane.reserve(), 1)
    lane.publish()
    expect(device.notifications).toBe(1)
    device.suppressNotifications()
    lane.add(lane.reserve(), 1)
    lane.publish()
    lane.publish()
    expect(device.notifications).toBe(1)
    const [first, second] = device.takeAvailable()
    queue.disableUsedNotifications()
    expect([device.putUsed(first!.id, 0), queue.hasUsed(), lane.reclaim()]).toEqual([false, true, 1])
    expect([queue.enableUsedNotifications(), device.putUsed(second!.id, 0)]).toEqual([false, true])
    expect([lane.reclaim(), queue.hasUsed(), lane.inFlight]).toEqual([1, false, 0])
  })

  it('as a lane, breaks at an id it did not give away', () => {
    const { queue, device, address } = bench()
    const lane = queue.openWritableLane({ address, stride: STRIDE, length: LENGTH, count: 8 })
    lane.renew(4)
    lane.publish()
    device.takeAvailable()
    device.putUsed(7, 0)
    expect([lane.pop(usedBatch(8)), queue.broken?.code]).toEqual([0, 'ring.not-head'])
  })
}

function pop(lane: { pop(batch: UsedBatch): number }, batch: UsedBatch): (readonly [number, number])[] {
  const count = lane.pop(batch)
  return Array.from({ length: count }, (_, i) => [batch.cookies[i]!, batch.written[i]!] as const)
}
