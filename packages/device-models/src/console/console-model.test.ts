import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { ConsoleModel } from './console-model.ts'
import type { ConsoleModelOptions } from './console-options.ts'

const VERSION_1 = 1n << 32n
const ALL = VERSION_1 | 7n

function setUp(options: ConsoleModelOptions = {}, features = ALL, queues?: number) {
  const model = new ConsoleModel(options)
  const fn = modelFunction(model)
  const driver = new HandDriver(fn)
  driver.start(features, queues ?? model.queueSizes.length, 16)
  /** Readable bytes on a queue, by descriptor 0. */
  const write = (queue: number, bytes: readonly number[], writable = false): void => {
    const region = driver.buffer(bytes.length, Uint8Array.from(bytes))
    driver.queues[queue]!.descriptor(0, region.deviceAddress, bytes.length, writable ? 2 : 0)
    driver.queues[queue]!.offer(0)
    driver.notify(queue)
  }
  /** Room on a queue; what the device has written into each comes from `texts`. */
  const rooms: { queue: number; bytes: Uint8Array }[] = []
  const room = (queue: number, count: number, length = 64): void => {
    for (let head = 0; head < count; head++) {
      const region = driver.buffer(length)
      driver.queues[queue]!.descriptor(head, region.deviceAddress, length, 2)
      driver.queues[queue]!.offer(head)
      rooms.push({ queue, bytes: region.bytes })
    }
    driver.notify(queue)
  }
  const taken = (queue: number): number[][] => {
    const mine = rooms.filter((entry) => entry.queue === queue)
    return driver.queues[queue]!.takeUsed().map(({ id, len }) => [...mine[id]!.bytes.subarray(0, len)])
  }
  return { model, fn, driver, write, room, taken, sections: () => fn.violations.map(({ section }) => section) }
}

describe('ConsoleModel', () => {
  it('§ 5.3.4 has size, number of ports and a place for emergencies', () => {
    const { config } = new ConsoleModel({ size: { columns: 0x102, rows: 3 }, maxPorts: 5 })
    expect([...config]).toEqual([2, 1, 3, 0, 5, 0, 0, 0, 0, 0, 0, 0])
    expect(new ConsoleModel({ size: false, multiport: false, emergencyWrite: false }).features).toBe(0n)
  })

  it('§ 5.3.2 has two queues for each port and two for control, or two in all', () => {
    expect(new ConsoleModel({ maxPorts: 4 }).queueSizes).toHaveLength(10)
    expect(new ConsoleModel({ multiport: false }).queueSizes).toHaveLength(2)
  })

  it('§ 5.3.6.2 announces ports when the driver is ready, and says what they are when those are', () => {
    const { room, write, taken, sections, model } = setUp({ ports: [{ console: true, name: 'ab' }] })
    room(2, 8)
    expect(taken(2)).toEqual([])
    write(3, [0, 0, 0, 0, 0, 0, 1, 0])
    expect(taken(2)).toEqual([[0, 0, 0, 0, 1, 0, 0, 0]])
    write(3, [0, 0, 0, 0, 3, 0, 1, 0])
    expect(taken(2)).toEqual([
      [0, 0, 0, 0, 4, 0, 0, 0],
      [0, 0, 0, 0, 7, 0, 0, 0, 0x61, 0x62],
      [0, 0, 0, 0, 5, 0, 0, 0, 80, 0, 25, 0],
      [0, 0, 0, 0, 6, 0, 1, 0],
    ])
    expect(model.port(0).owesOpen).toBe(true)
    write(3, [0, 0, 0, 0, 6, 0, 1, 0])
    expect(model.port(0)).toMatchObject({ owesOpen: false, driverOpen: true })
    expect(sections()).toEqual([])
  })

  it('§ 5.3.6 gives a port that is open what its peer writes, and the peer what the driver does', () => {
    const { room, write, taken, model } = setUp()
    room(0, 4, 3)
    model.port(0).send(Uint8Array.of(1, 2, 3, 4))
    expect(taken(0)).toEqual([])
    for (const event of [0, 3, 6]) write(3, [0, 0, 0, 0, event, 0, 1, 0])
    expect(taken(0)).toEqual([[1, 2, 3], [4]])
    write(1, [9, 8])
    expect([...model.port(0).takeReceived()]).toEqual([9, 8])
    model.port(0).reading = false
    write(1, [7])
    expect(model.port(0).takeReceived()).toHaveLength(0)
    model.port(0).reading = true
    expect([...model.port(0).takeReceived()]).toEqual([7])
  })

  it('§ 5.3.5.1 takes an emergency write at any time', () => {
    const { fn, model, driver } = setUp()
    const at = driver.structures.get(4)!
    driver.status = 0
    fn.bar(at.bar).write32(at.offset + 8, 0x12345641)
    expect(model.emergency).toEqual([0x41])
    expect(fn.violations).toEqual([])
  })

  it.each<[string, string, (at: ReturnType<typeof setUp>) => void]>([
    [
      '5.3.6.1',
      'a readable buffer to receive into',
      ({ write, model }) => {
        model.port(0).driverOpen = true
        write(0, [1])
        model.port(0).send(Uint8Array.of(1))
      },
    ],
    ['5.3.6.1', 'a writable buffer to transmit from', ({ write }) => write(1, [1], true)],
    ['5.3.6.1', 'a writable buffer for a control message', ({ write }) => write(3, [1], true)],
    ['5.3.6.2.2', 'a control message of the wrong length', ({ write }) => write(3, [0, 0, 0, 0, 0, 0, 1])],
    ['5.3.6.2.2', 'a word before DEVICE_READY', ({ write }) => write(3, [0, 0, 0, 0, 3, 0, 1, 0])],
    [
      '5.3.6.2.2',
      'a message that is the device’s to send',
      ({ write }) => {
        write(3, [0, 0, 0, 0, 0, 0, 1, 0])
        write(3, [0, 0, 0, 0, 1, 0, 1, 0])
      },
    ],
    [
      '5.3.6.2.2',
      'PORT_OPEN for a port that is not ready',
      ({ write }) => {
        write(3, [0, 0, 0, 0, 0, 0, 1, 0])
        write(3, [0, 0, 0, 0, 6, 0, 1, 0])
      },
    ],
    [
      '2.5.1',
      'a size that the driver writes',
      ({ fn, driver }) => {
        const at = driver.structures.get(4)!
        fn.bar(at.bar).write16(at.offset, 1)
      },
    ],
  ])('§ %s notices %s', (section, _what, act) => {
    const at = setUp()
    act(at)
    expect(at.sections()).toContain(section)
  })

  it('§ 5.3.2 notices queues that there are not without MULTIPORT', () => {
    expect(setUp({}, VERSION_1, 4).sections()).toEqual(['5.3.2', '5.3.2'])
    expect(setUp({}, VERSION_1, 2).sections()).toEqual([])
  })
})
