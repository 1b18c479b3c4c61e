import { DeviceConfig, NegotiatedFeatures, type Transport } from '@virtio-ts/core'
import { featureSet, ReservedFeature } from '@virtio-ts/spec'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { completeChecksum } from './complete-checksum.ts'
import { formatMac, isMulticastMac, isUnicastMac, randomMac } from './mac-address.ts'
import { netHeaderLength } from './net-header.ts'
import { checkNetOptions, maskedFeatures } from './net-options.ts'
import { macSetting, makeNetSpec, type NetDriverFeature, type NetFeatures, netFeatures, netSpec } from './net-spec.ts'
import { findInvalid, readNetState } from './net-state.ts'

function features(...names: readonly NetDriverFeature[]): NetFeatures {
  return new NegotiatedFeatures(featureSet(...names.map((name) => netFeatures[name])), netFeatures)
}

/** mac, status, max pairs, mtu, speed, duplex */
function config(bytes: Uint8Array): DeviceConfig {
  const transport = {
    configLength: bytes.length,
    async readConfig(offset: number, into: Uint8Array) {
      if (offset + into.length > bytes.length) throw new RangeError('beyond the space')
      into.set(bytes.subarray(offset, offset + into.length))
    },
  }
  return new DeviceConfig(transport as Partial<Transport> as Transport)
}

const good = Uint8Array.from([0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0, 1, 0, 0xdc, 5, 0x10, 0x27, 0, 0, 1])

function changed(at: number, ...values: readonly number[]): Uint8Array {
  const bytes = good.slice()
  bytes.set(values, at)
  return bytes
}

describe('§ 5.1.6.1 the header', () => {
  it('has ten bytes on the legacy interface without MRG_RXBUF, and twelve everywhere else', () => {
    expect([
      netHeaderLength(true, false),
      netHeaderLength(true, true),
      netHeaderLength(false, false),
      netHeaderLength(false, true),
    ]).toEqual([10, 12, 12, 12])
  })
})

describe('the driver as data', () => {
  it('asks for dependencies among its own features only', () => {
    for (const { feature, anyOf } of netSpec.dependencies ?? []) {
      expect(netFeatures).toHaveProperty(feature)
      expect(anyOf.length).toBeGreaterThan(0)
      for (const name of anyOf) expect(netFeatures).toHaveProperty(name)
    }
    expect(netSpec.dependencies).toContainEqual({ feature: 'GUEST_ECN', anyOf: ['GUEST_TSO4', 'GUEST_TSO6'] })
  })

  it('has the control queue where it was negotiated, third', async () => {
    const queues = async (set: NetFeatures) =>
      typeof netSpec.queues === 'function' ? await netSpec.queues(set, config(good)) : []
    expect((await queues(features())).map(({ name, index }) => [name, index])).toEqual([
      ['receiveq1', 0],
      ['transmitq1', 1],
    ])
    expect((await queues(features('CTRL_VQ')))[2]).toMatchObject({ name: 'controlq', index: 2 })
  })

  it.each<[string, Uint8Array, readonly string[]]>([
    ['a good configuration', good, []],
    ['an MTU of 67', changed(10, 67, 0), ['MTU']],
    ['an MTU of 68', changed(10, 68, 0), []],
    ['an MTU of 65535', changed(10, 255, 255), []],
    ['an MTU of 0', changed(10, 0, 0), ['MTU']],
    ['an address of zeros', changed(0, 0, 0, 0, 0, 0, 0), ['MAC']],
    ['an address of a group', changed(0, 1), ['MAC']],
    ['no speed', good.subarray(0, 16), ['SPEED_DUPLEX']],
    ['no MTU', good.subarray(0, 10), ['MTU', 'SPEED_DUPLEX']],
    ['no status, so no request to announce', good.subarray(0, 6), ['STATUS', 'MTU', 'SPEED_DUPLEX', 'GUEST_ANNOUNCE']],
    ['nothing', good.subarray(0, 0), ['MAC', 'STATUS', 'MTU', 'SPEED_DUPLEX', 'GUEST_ANNOUNCE']],
  ])('%s: what is dropped before FEATURES_OK', async (_, bytes, dropped) => {
    expect(
      await netSpec.validate?.(features('MAC', 'STATUS', 'MTU', 'SPEED_DUPLEX', 'GUEST_ANNOUNCE'), config(bytes)),
    ).toEqual(dropped)
  })

  it("§ 5.1.4.2 leaves the device's address alone where another one was chosen and cannot be told", async () => {
    const validate = (legacy: boolean, ...names: NetDriverFeature[]) =>
      makeNetSpec({ ownMac: true, legacy: legacy }).validate?.(features('MAC', 'STATUS', ...names), config(good))
    expect(await validate(false)).toEqual(['MAC'])
    expect(await validate(false, 'CTRL_MAC_ADDR')).toEqual(['MAC'])
    expect(await validate(false, 'CTRL_MAC_ADDR', 'CTRL_RX')).toEqual([])
    expect(await validate(true)).toEqual([])
    expect(macSetting(features('CTRL_MAC_ADDR'), true)).toBe('none')
  })
})

describe('options', () => {
  it('may mask features this driver never accepts, and reach initialize() with the others', () => {
    // What changes a device's ways only for those who ask.
    expect(maskedFeatures({})).toEqual(['CTRL_VLAN', 'MQ', 'RSS', 'HASH_REPORT'])
    expect(maskedFeatures({ queuePairs: 2, rss: true, hashReport: true })).toEqual(['CTRL_VLAN'])
    expect(
      maskedFeatures({ vlanFilter: true, withoutFeatures: ['HASH_TUNNEL', 'CSUM', 'EVENT_IDX', 'NONSENSE'] }),
    ).toEqual(['CSUM', 'EVENT_IDX', 'NONSENSE', 'MQ', 'RSS', 'HASH_REPORT'])
  })

  it.each([67, 65_536, 1500.5, Number.NaN])('an MTU of %d cannot be', (mtu) =>
    expect(() => checkNetOptions({ mtu })).toThrow(RangeError),
  )
  it.each([
    [0, 0, 0, 0, 0, 0],
    [1, 0, 0, 0, 0, 1],
    [2, 0, 0, 0, 1],
  ])('an address of %j cannot be', (...mac) => {
    expect(() => checkNetOptions({ mac: Uint8Array.from(mac) })).toThrow(RangeError)
  })
})

describe('the configuration space', () => {
  const all = ['MAC', 'STATUS', 'MTU', 'SPEED_DUPLEX', 'GUEST_ANNOUNCE'] as const

  it('reads as what was negotiated', async () => {
    const state = await readNetState(config(changed(6, 3)), features(...all))
    expect(state).toEqual({
      link: { up: true, speed: 10_000, duplex: 'full' },
      announce: true,
      mac: good.slice(0, 6),
      mtu: 1500,
    })
  })

  it('§ 5.1.4.2 without STATUS the link is up, and nothing is read that need not be there', async () => {
    expect(await readNetState(config(new Uint8Array(0)), features())).toEqual({ link: { up: true }, announce: false })
    expect(await readNetState(config(good.slice(0, 6)), features('MAC'))).toMatchObject({
      link: { up: true },
      mac: good.slice(0, 6),
    })
    expect(await readNetState(config(changed(6, 0).slice(0, 8)), features('STATUS'))).toEqual({
      link: { up: false },
      announce: false,
    })
  })

  it.each<[string, Uint8Array, object]>([
    ['0x7fffffff', changed(12, 255, 255, 255, 127), { up: true, speed: 0x7fffffff, duplex: 'full' }],
    ['0x80000000', changed(12, 0, 0, 0, 128), { up: true, duplex: 'full' }],
    ['unknown', changed(12, 255, 255, 255, 255, 255), { up: true }],
    ['half duplex', changed(16, 0), { up: true, speed: 10_000, duplex: 'half' }],
    ['duplex 2', changed(16, 2), { up: true, speed: 10_000 }],
  ])('§ 5.1.4.2 speed and duplex: %s', async (_, bytes, link) =>
    expect((await readNetState(config(bytes), features(...all))).link).toEqual(link),
  )

  it('is held against what was negotiated on', async () => {
    const judge = async (bytes: Uint8Array, mtu?: number) =>
      findInvalid(await readNetState(config(bytes), features(...all)), mtu)
    expect(await judge(good, 1500)).toBeUndefined()
    expect(await judge(changed(10, 40, 0), 1500)).toEqual({ field: 'mtu', value: 40 })
    expect(await judge(changed(10, 0x28, 0x23), 1500)).toEqual({ field: 'mtu', value: 9000 })
    expect(await judge(changed(10, 40, 0))).toEqual({ field: 'mtu', value: 40 })
    expect(await judge(changed(0, 0x53), 1500)).toEqual({ field: 'mac', value: '53:54:00:12:34:56' })
  })
})

describe('addresses', () => {
  it("§ 5.1.4.2 a random one is local and nobody's group", () => {
    const macs = Array.from({ length: 200 }, randomMac)
    for (const mac of macs) expect([mac[0]! & 3, isUnicastMac(mac)]).toEqual([2, true])
    expect(new Set(macs.map(formatMac)).size).toBe(200)
  })

  it('are told apart', () => {
    expect(isMulticastMac(Uint8Array.of(1, 0, 0x5e, 0, 0, 1))).toBe(true)
    expect(isMulticastMac(Uint8Array.of(2, 0, 0, 0, 0, 1))).toBe(false)
    expect(isUnicastMac(Uint8Array.of(0, 0, 0, 0, 0, 0))).toBe(false)
    expect(isUnicastMac(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff))).toBe(false)
  })
})

describe('a checksum', () => {
  it('completed is one that a receiver finds right', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 30, maxLength: 300 }),
        fc.nat(7),
        fc.nat(10),
        fc.nat(4),
        (frame, start, half, lead) => {
          const bytes = new Uint8Array(lead + frame.length)
          bytes.set(frame, lead)
          const at = start + half * 2
          const pseudo = frame[at]! * 256 + frame[at + 1]!
          completeChecksum(bytes, lead, frame.length, start, half * 2)
          let sum = pseudo
          for (let i = start; i < frame.length; i++) sum += bytes[lead + i]! * ((i - start) % 2 === 0 ? 256 : 1)
          expect(sum % 0xffff).toBe(0)
          // 0 would mean that there is none.
          expect([bytes[lead + at], bytes[lead + at + 1]]).not.toEqual([0, 0])
          // Nothing else changed.
          bytes.set(frame.subarray(at, at + 2), lead + at)
          expect(Buffer.compare(bytes.subarray(lead), frame)).toBe(0)
        },
      ),
    )
  })

  it('that comes to nothing is written as the other nothing, as UDP takes 0 for none', () => {
    const bytes = Uint8Array.of(0xff, 0xff, 0, 0)
    completeChecksum(bytes, 0, 4, 0, 2)
    expect([...bytes]).toEqual([0xff, 0xff, 0xff, 0xff])
  })

  it('of a frame of 64 KiB of ones does not overflow', () => {
    const bytes = new Uint8Array(65_549).fill(0xff)
    bytes.set([0, 0], 34 + 16)
    completeChecksum(bytes, 0, bytes.length, 34, 16)
    let sum = 0
    for (let i = 34; i < bytes.length; i += 2) sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0)
    expect(sum % 0xffff).toBe(0)
  })
})

describe('reserved features', () => {
  it("are none of this driver's", () => {
    for (const bit of Object.values(netFeatures)) expect(Object.values(ReservedFeature)).not.toContain(bit)
  })
})
