import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { mac } from '../../test-support/frames.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { NetModel } from './net-model.ts'

const bit = (...bits: number[]): bigint => bits.reduce((set, n) => set | (1n << BigInt(n)), 0n)
const ALL_CONTROL = bit(5, 17, 18, 19, 20, 21, 23)
const OWN = '52:54:00:12:34:56'
const OTHER = '52:54:00:00:00:99'
const MULTICAST = '01:00:5e:00:00:01'
const BROADCAST = 'ff:ff:ff:ff:ff:ff'

function setUp(features: bigint = ALL_CONTROL) {
  const model = new NetModel()
  const fn = modelFunction(model)
  const driver = new HandDriver(fn)
  const [receive, , control] = driver.start(bit(32) | features, 3, 8)
  if (!receive || !control) throw new Error('no queues')
  const room = driver.buffer(1526)
  /** Runs one command. @returns its ack, and what the device says it wrote */
  const command = (kind: number, code: number, ...data: number[]): number => {
    const region = driver.buffer(2 + data.length + 1, Uint8Array.from([kind, code, ...data, 0xee]))
    control.chain(0, [
      [region.deviceAddress, 2, false],
      ...(data.length > 0 ? [[region.deviceAddress + 2, data.length, false] as const] : []),
      [region.deviceAddress + 2 + data.length, 1, true],
    ])
    control.offer(0)
    driver.notify(2)
    expect(control.takeUsed()).toEqual([{ id: 0, len: 1 }])
    return region.bytes[2 + data.length] ?? -1
  }
  /** Whether a frame to this address comes through. */
  const passes = (to: string, vlan?: number): boolean => {
    receive.descriptor(0, room.deviceAddress, 1526, 2)
    receive.offer(0)
    const type = vlan === undefined ? [0x88, 0xb5] : [0x81, 0, vlan >> 8, vlan & 0xff, 0x88, 0xb5]
    const frame = Uint8Array.from([
      ...mac(to),
      ...mac('02:00:00:00:00:02'),
      ...type,
      ...Array.from({ length: 46 }, () => 0),
    ])
    const delivered = model.deliver(frame) === 'delivered'
    if (delivered) expect(receive.takeUsed()).toHaveLength(1)
    else {
      // Leave no buffer behind: the next round offers its own.
      model.deliver(Uint8Array.from(mac(OWN)))
      receive.takeUsed()
    }
    return delivered
  }
  return { model, fn, driver, command, passes, sections: () => fn.violations.map(({ section }) => section) }
}

const le32 = (n: number): number[] => [n & 0xff, (n >> 8) & 0xff, (n >> 16) & 0xff, (n >> 24) & 0xff]

describe('the control queue', () => {
  it('§ 5.1.6.5.2.1 starts with the own address, broadcast, and an empty table', () => {
    const { model, passes } = setUp()
    expect(model.receiveFilter).toEqual({
      promiscuous: false,
      allMulticast: false,
      allUnicast: false,
      noMulticast: false,
      noUnicast: false,
      noBroadcast: false,
      mac: OWN,
      unicastTable: [],
      multicastTable: [],
      vlans: [],
    })
    expect([OWN, OTHER, MULTICAST, BROADCAST].map((to) => passes(to))).toEqual([true, false, false, true])
    expect(model.counters.filtered).toBe(2)
  })

  it('lets all multicast through to a driver that cannot ask for it', () => {
    const { passes } = setUp(bit(5))
    expect([OWN, OTHER, MULTICAST, BROADCAST].map((to) => passes(to))).toEqual([true, false, true, true])
  })

  it.each<[string, number, boolean[]]>([
    ['promiscuous', 0, [true, true, true, true]],
    ['all-multicast', 1, [true, false, true, true]],
    ['all-unicast', 2, [true, true, false, true]],
    ['no-unicast', 4, [false, false, false, true]],
    ['no-broadcast', 5, [true, false, false, false]],
  ])('§ 5.1.6.5.1.1 %s mode, on and off', (_name, code, expected) => {
    const { command, passes } = setUp()
    expect(command(0, code, 1)).toBe(0)
    expect([OWN, OTHER, MULTICAST, BROADCAST].map((to) => passes(to))).toEqual(expected)
    expect(command(0, code, 0)).toBe(0)
    expect([OWN, OTHER, MULTICAST, BROADCAST].map((to) => passes(to))).toEqual([true, false, false, true])
  })

  it('§ 5.1.6.5.1.1 no-multicast goes before all-multicast, spares broadcast, and yields to promiscuous', () => {
    const { command, passes } = setUp()
    command(0, 1, 1)
    command(0, 3, 1)
    expect([MULTICAST, BROADCAST].map((to) => passes(to))).toEqual([false, true])
    command(0, 0, 1)
    expect(passes(MULTICAST)).toBe(true)
  })

  it('§ 5.1.6.5.2 sets both tables, and replaces them', () => {
    const { model, command, passes, sections } = setUp()
    expect(command(1, 0, ...le32(1), ...mac(OTHER), ...le32(1), ...mac(MULTICAST))).toBe(0)
    expect(model.receiveFilter).toMatchObject({ unicastTable: [OTHER], multicastTable: [MULTICAST] })
    expect([OWN, OTHER, MULTICAST].map((to) => passes(to))).toEqual([true, true, true])
    expect(command(1, 0, ...le32(0), ...le32(0))).toBe(0)
    expect([OWN, OTHER, MULTICAST].map((to) => passes(to))).toEqual([true, false, false])
    expect(sections()).toEqual([])
  })

  it.each<[string, number[]]>([
    ['no second table', [...le32(0)]],
    ['more entries than bytes', [...le32(2), ...mac(OTHER), ...le32(0)]],
    ['a count that overflows', [...le32(0xffffffff), ...le32(0)]],
    ['bytes left over', [...le32(0), ...le32(0), 1]],
  ])('§ 5.1.6.5.2.2 refuses tables with %s', (_name, data) => {
    const { command, sections } = setUp()
    expect(command(1, 0, ...data)).toBe(1)
    expect(sections()).toEqual(['5.1.6.5.2.2'])
  })

  it('§ 5.1.6.5.2.2 records an address in the wrong table', () => {
    const { command, sections } = setUp()
    expect(command(1, 0, ...le32(1), ...mac(MULTICAST), ...le32(0))).toBe(0)
    expect(sections()).toEqual(['5.1.6.5.2.2'])
  })

  it('§ 5.1.6.5.2.1 takes another address, shows it, and goes back to its own on reset', () => {
    const { model, driver, command, passes } = setUp()
    expect(command(1, 1, ...mac(OTHER))).toBe(0)
    expect([OWN, OTHER].map((to) => passes(to))).toEqual([false, true])
    expect(Array.from({ length: 6 }, (_, n) => driver.config8(n))).toEqual(mac(OTHER))
    driver.status = 0
    expect(model.mac).toBe(OWN)
    expect(model.receiveFilter).toMatchObject({ mac: undefined, unicastTable: [], vlans: undefined })
  })

  it('§ 5.1.6.5.3.1 lets tagged frames through whose VLAN was added', () => {
    const { model, command, passes } = setUp()
    expect([passes(OWN, 5), passes(OWN)]).toEqual([false, true])
    expect(command(2, 0, 5, 0)).toBe(0)
    expect(command(2, 0, 0xff, 0x0f)).toBe(0)
    expect([passes(OWN, 5), passes(OWN, 6), passes(OWN, 4095), passes(OTHER, 5)]).toEqual([true, false, true, false])
    expect(model.receiveFilter.vlans).toEqual([5, 4095])
    expect(command(2, 1, 5, 0)).toBe(0)
    expect(passes(OWN, 5)).toBe(false)
    expect(command(2, 0, 0, 0x10)).toBe(1)
    expect(setUp(bit(5, 17)).passes(OWN, 5)).toBe(true)
  })

  it('§ 5.1.6.5.8.1 switches the negotiated offloads, and only those', () => {
    const { model, command, sections } = setUp(bit(1, 2, 5, 7, 17))
    expect(model.offloads).toBe(bit(1, 7))
    expect(command(5, 0, 2, 0, 0, 0, 0, 0, 0, 0)).toBe(0)
    expect(model.offloads).toBe(bit(1))
    expect(command(5, 0, 0, 1, 0, 0, 0, 0, 0, 0)).toBe(1)
    expect(model.offloads).toBe(bit(1))
    expect(sections()).toEqual(['5.1.6.5.8.2'])
  })

  it.each<[string, bigint, string, number[]]>([
    ['CTRL_RX', bit(5, 17), '5.1.6.5.1.2', [0, 0, 1]],
    ['CTRL_RX_EXTRA', bit(5, 17, 18), '5.1.6.5.1.2', [0, 2, 1]],
    ['CTRL_RX', bit(5, 17), '5.1.6.5.2.2', [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
    ['CTRL_MAC_ADDR', bit(5, 17, 18), '5.1.6.5.2.2', [1, 1, 2, 0, 0, 0, 0, 1]],
    ['CTRL_VLAN', bit(5, 17), '5.1.6.5.3', [2, 0, 5, 0]],
    ['GUEST_ANNOUNCE', bit(5, 17), '5.1.6.5.4.1', [3, 0]],
    ['CTRL_GUEST_OFFLOADS', bit(5, 17), '5.1.6.5.8.2', [5, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ])('refuses and records a command without %s', (_name, features, section, [kind = 0, code = 0, ...data]) => {
    const { model, command, sections } = setUp(features)
    expect(command(kind, code, ...data)).toBe(1)
    expect(sections()).toEqual([section])
    expect(model.counters).toMatchObject({ controlCommands: 1, controlErrors: 1 })
  })

  it.each([
    [0, 9, 1],
    [0, 0, 2],
    [1, 7, 0],
    [4, 0, 1],
    [200, 0],
  ])('refuses an unknown or ill-formed command: class %i, command %i', (kind, code, ...data) => {
    expect(setUp().command(kind, code, ...data.filter((byte) => byte !== undefined))).toBe(1)
  })

  it('§ 5.1.6.5 records a command without room for ack, and one without CTRL_VQ', () => {
    const { driver, sections } = setUp()
    const control = driver.queues[2]
    const region = driver.buffer(3, Uint8Array.of(0, 0, 1))
    control?.descriptor(0, region.deviceAddress, 3, 0)
    control?.offer(0)
    driver.notify(2)
    expect(control?.takeUsed()).toEqual([{ id: 0, len: 0 }])
    expect(sections()).toEqual(['5.1.6.5'])
    const without = setUp(bit(5))
    without.driver.queues[2]?.offer(0)
    without.driver.notify(2)
    expect(without.sections()).toEqual(['5.1.6.5'])
  })
})
