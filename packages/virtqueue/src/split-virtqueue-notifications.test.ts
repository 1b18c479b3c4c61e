import { describe, expect, it } from 'vitest'
import { at, ringBench } from './testing/ring-bench.ts'
import { DeviceArea } from './device-area.ts'
import { usedBatch } from './virtqueue.ts'

describe('SplitVirtqueue: available buffer notifications', () => {
  it('§ 2.7.10.1: without EVENT_IDX one per publish, unless flags is 1; avail_event is ignored', () => {
    const bench = ringBench()
    const { queue, device } = bench
    const publish = (count: number) => {
      for (let i = 0; i < count; i++) queue.addReadable(at(0), 1, 0)
      queue.publish()
      return bench.notifications
    }
    device.availEvent = 0x7777
    expect(publish(3)).toBe(1)
    expect(publish(0)).toBe(1)
    device.usedFlags = 1
    expect(publish(1)).toBe(1)
    device.usedFlags = 0
    expect(publish(1)).toBe(2)
    expect(queue.stats).toMatchObject({ notificationsSent: 2, notificationsSuppressed: 1 })
    device.usedFlags = 1
    queue.notifyAlways()
    expect(bench.notifications).toBe(3)
  })

  it('§ 2.7.10.1: with EVENT_IDX flags is ignored, and avail_event counts', () => {
    const bench = ringBench({ eventIdx: true })
    const { queue, device } = bench
    device.usedFlags = 1
    queue.addReadable(at(0), 1, 0)
    queue.publish()
    expect(bench.notifications).toBe(1)
    queue.addReadable(at(0), 1, 0)
    queue.publish()
    expect(bench.notifications).toBe(1)
    device.availEvent = 2
    queue.addReadable(at(0), 1, 0)
    queue.publish()
    expect(bench.notifications).toBe(2)
  })

  it('§ 2.7.10.1: with EVENT_IDX it notifies exactly when the entry asked for is among those published', () => {
    const size = 8
    let wrong = 0
    let cases = 0
    for (let start = 0xfff4; start < 0x1000c; start++) {
      const startIndex = start & 0xffff
      const bench = ringBench({ size, eventIdx: true, startIndex, memoryLength: 4096 })
      for (let count = 1; count <= size; count++) {
        for (let distance = -20; distance <= 20; distance++) {
          bench.queue.reset()
          bench.notifications = 0
          bench.device.availEvent = (start + distance) & 0xffff
          for (let i = 0; i < count; i++) bench.queue.addReadable(at(0), 1, i)
          bench.queue.publish()
          cases++
          if (bench.notifications !== (distance >= 0 && distance < count ? 1 : 0)) wrong++
        }
      }
    }
    expect([wrong, cases]).toEqual([0, 24 * 8 * 41])
  })

  it('§ 2.7.13.4.1: idx is stored, once and as a barrier, before the suppression fields are read', () => {
    const order: string[] = []
    class Recorder extends DeviceArea {
      override usedFlags(): number {
        order.push('flags')
        return super.usedFlags()
      }
      override availEvent(): number {
        order.push('event')
        return super.availEvent()
      }
    }
    for (const eventIdx of [false, true]) {
      const bench = ringBench({
        eventIdx,
        mapDeviceArea: (bytes, offset, size) => new Recorder(bytes, offset, size),
        notify: () => order.push('notify'),
      })
      for (let i = 0; i < 4; i++) bench.queue.addReadable(at(0), 1, 0)
      order.length = 0
      withAtomicStore(
        (array, index, value) => order.push(`store ${index} of ${array.length} = ${value}`),
        () => bench.queue.publish(),
      )
      expect(order).toEqual(['store 1 of 11 = 4', eventIdx ? 'event' : 'flags', 'notify'])
    }
  })

  it('the notification is the last thing publish does: a device in this process may have used the buffers by then', () => {
    const batch = usedBatch(4)
    const seen: number[] = []
    const bench = ringBench({
      notify: () => {
        for (const { id } of bench.device.take()) bench.device.putUsed(id, 0)
        const count = bench.queue.popUsed(batch)
        for (let i = 0; i < count; i++) {
          seen.push(batch.cookies[i]!)
          if (batch.cookies[i]! < 5) bench.queue.addReadable(at(0), 1, batch.cookies[i]! + 1)
        }
        bench.queue.publish()
      },
    })
    bench.queue.addReadable(at(0), 1, 1)
    bench.queue.publish()
    expect(seen).toEqual([1, 2, 3, 4, 5])
    expect([bench.queue.inFlight, bench.queue.broken]).toEqual([0, undefined])
  })
})

describe('SplitVirtqueue: used buffer notifications', () => {
  it('§ 2.7.7.1: without EVENT_IDX the driver sets flags to 1 and back to 0', () => {
    const { queue, device } = ringBench()
    expect(device.availableFlags).toBe(0)
    queue.disableUsedNotifications()
    expect(device.availableFlags).toBe(1)
    expect(queue.enableUsedNotifications()).toBe(false)
    expect(device.availableFlags).toBe(0)
  })

  it('§ 2.7.7.1: with EVENT_IDX flags stays 0, and used_event asks', () => {
    const { queue, device } = ringBench({ eventIdx: true })
    for (let i = 0; i < 8; i++) queue.addWritable(at(0), 1, i)
    queue.publish()
    const ids = device.take().map(({ id }) => id)
    queue.disableUsedNotifications()
    expect(device.availableFlags).toBe(0)
    let old = device.usedIndex
    for (let i = 0; i < 4; i++) device.putUsed(ids[i]!, 0)
    expect(device.mustNotify(old)).toBe(false)
    queue.popUsed(usedBatch(2))
    expect(queue.enableUsedNotifications()).toBe(true)
    expect(device.usedEvent).toBe(2)
    queue.popUsed(usedBatch(2))
    expect(queue.enableUsedNotifications()).toBe(false)
    old = device.usedIndex
    device.putUsed(ids[4]!, 0)
    expect(device.mustNotify(old)).toBe(true)
    expect(device.availableFlags).toBe(0)
  })

  it.each([false, true])('enabling tells of buffers used meanwhile (EVENT_IDX %s)', (eventIdx) => {
    const { queue, device } = ringBench({ eventIdx })
    queue.addWritable(at(0), 1, 0)
    queue.publish()
    queue.disableUsedNotifications()
    device.putUsed(device.take()[0]!.id, 0)
    expect(queue.enableUsedNotifications()).toBe(true)
    expect(queue.popUsed(usedBatch(1))).toBe(1)
    expect(queue.enableUsedNotifications()).toBe(false)
  })

  it.each([false, true])('while enabled, polling until 0 leaves no use unannounced (EVENT_IDX %s)', (eventIdx) => {
    const { queue, device, drain } = ringBench({ eventIdx, startIndex: 0xfffd })
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 1 + (round % 8); i++) queue.addWritable(at(0), 1, i)
      queue.publish()
      const taken = device.take()
      const old = device.usedIndex
      for (const { id } of taken) device.putUsed(id, 0)
      expect(device.mustNotify(old)).toBe(true)
      expect(drain(3)).toHaveLength(taken.length)
    }
  })

  it('with EVENT_IDX and notifications disabled, taking buffers does not ask again', () => {
    const { queue, device, drain } = ringBench({ eventIdx: true })
    queue.disableUsedNotifications()
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 8; i++) queue.addWritable(at(0), 1, i)
      queue.publish()
      const old = device.usedIndex
      for (const { id } of device.take()) device.putUsed(id, 0)
      expect(device.mustNotify(old)).toBe(false)
      expect(drain()).toHaveLength(8)
    }
  })

  it.each([false, true])(
    'what enables notifications is a barrier before used idx is read (EVENT_IDX %s)',
    (eventIdx) => {
      const order: string[] = []
      class Recorder extends DeviceArea {
        override usedIndex(): number {
          order.push('idx')
          return super.usedIndex()
        }
      }
      const { queue, device } = ringBench({
        eventIdx,
        mapDeviceArea: (bytes, offset, size) => new Recorder(bytes, offset, size),
      })
      queue.addWritable(at(0), 1, 0)
      queue.publish()
      device.putUsed(device.take()[0]!.id, 0)
      withAtomicStore(
        (_, index, value) => order.push(`store ${index} = ${value}`),
        () => {
          queue.popUsed(usedBatch(1))
          queue.enableUsedNotifications()
        },
      )
      expect(order).toEqual(eventIdx ? ['idx', 'store 10 = 1', 'store 10 = 1', 'idx'] : ['idx', 'store 0 = 0', 'idx'])
    },
  )

  it('§ 2.7.7.1: D20: spurious notifications find nothing to do', () => {
    const { queue, drain } = ringBench()
    expect(drain()).toEqual([])
    queue.addWritable(at(0), 1, 0)
    expect(drain()).toEqual([])
    queue.publish()
    expect(drain()).toEqual([])
    expect([queue.hasUsed(), queue.broken, queue.inFlight]).toEqual([false, undefined, 1])
  })
})

/** Runs `body` while every `Atomics.store` is told to `listener` too. */
function withAtomicStore(listener: (array: Uint16Array, index: number, value: number) => void, body: () => void): void {
  const original = Atomics.store
  Atomics.store = ((array: Uint16Array, index: number, value: number) => {
    listener(array, index, value)
    return original(array, index, value)
  }) as typeof Atomics.store
  try {
    body()
  } finally {
    Atomics.store = original
  }
}
