import { describe, expect, it } from 'vitest'
import {
  decodeConfig,
  decodeHeader,
  decodeInflight,
  decodeQueueState,
  decodeU64,
  encodeConfig,
  encodeInflight,
  encodeMemoryRegion,
  encodeMemoryTable,
  encodeMessage,
  encodeQueueAddresses,
  encodeQueueState,
  encodeU64,
  requestName,
} from './messages.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))

// The expected bytes are written out from the protocol's text ("Message Specification"), little-endian.
describe('vhost-user messages', () => {
  it('have a header of request, flags with the version, and the length of the payload', () => {
    expect(hex(encodeMessage(39, 8, bytes('01 02')))).toBe('27000000' + '09000000' + '02000000' + '0102')
    expect(hex(encodeMessage(1, 0, bytes('')))).toBe('01000000' + '01000000' + '00000000')
    expect(decodeHeader(bytes('0b000000 05000000 08000000'))).toEqual({ request: 11, flags: 5, size: 8 })
    expect(decodeHeader(bytes('ffffffff ffffffff ffffffff'))).toEqual({
      request: 0xffffffff,
      flags: 0xffffffff,
      size: 0xffffffff,
    })
  })

  it('carry 64-bit numbers', () => {
    expect(hex(encodeU64(0x1234567890abcdefn))).toBe('efcdab9078563412')
    expect(hex(encodeU64(255))).toBe('ff00000000000000')
    expect(decodeU64(bytes('ffffffffffffffff'))).toBe(0xffffffffffffffffn)
    for (const length of [0, 4, 7, 9, 16]) expect(decodeU64(new Uint8Array(length))).toBe(undefined)
  })

  it('carry a queue and a number', () => {
    expect(hex(encodeQueueState(3, 0x8000_8000))).toBe('03000000' + '00800080')
    expect(decodeQueueState(bytes('02000000 34120000'))).toEqual({ index: 2, value: 0x1234 })
    for (const length of [0, 7, 9]) expect(decodeQueueState(new Uint8Array(length))).toBe(undefined)
  })

  it('carry the areas of a queue: descriptors, used, available, and no log', () => {
    const areas = { descriptorArea: 0x200000, driverArea: 0x201000, deviceArea: 0x1_0000_0040 }
    expect(hex(encodeQueueAddresses(1, areas))).toBe(
      '01000000' + '00000000' + '0000200000000000' + '4000000001000000' + '0010200000000000' + '0000000000000000',
    )
  })

  it('carry regions of memory, whose user addresses are their device addresses', () => {
    const region = { deviceAddress: 0x200000, length: 0x10000, fileOffset: 0x3000 }
    const encoded = '0000200000000000' + '0000010000000000' + '0000200000000000' + '0030000000000000'
    expect(hex(encodeMemoryTable([region, region]))).toBe('02000000' + '00000000' + encoded + encoded)
    expect(hex(encodeMemoryRegion(region))).toBe('0000000000000000' + encoded)
  })

  it('carry configuration, checked against what was asked for', () => {
    expect(hex(encodeConfig(8, bytes('aabb')))).toBe('08000000' + '02000000' + '00000000' + 'aabb')
    expect(decodeConfig(bytes('08000000 02000000 00000000 ccdd'), 8, 2)).toEqual(bytes('ccdd'))
    // A refusal.
    expect(decodeConfig(bytes(''), 8, 2)).toEqual(bytes(''))
    const wrong = [
      '08000000 02000000 00000000 cc',
      '08000000 02000000 00000000 ccddee',
      '08000000 02000000 00000000',
      '00000000 02000000 00000000 ccdd',
      '08000000 03000000 00000000 ccdd',
      '08000000 02000000',
    ]
    for (const payload of wrong) expect(decodeConfig(bytes(payload), 8, 2)).toBe(undefined)
  })

  it('carry a description of memory for requests in flight, padded as C does or not', () => {
    const inflight = { length: 0x1000n, offset: 0x20n, queues: 2, queueSize: 1024 }
    const encoded = '0010000000000000' + '2000000000000000' + '0200' + '0004'
    expect(hex(encodeInflight(inflight))).toBe(`${encoded}00000000`)
    expect(decodeInflight(bytes(encoded))).toEqual(inflight)
    expect(decodeInflight(bytes(`${encoded}00000000`))).toEqual(inflight)
    for (const length of [0, 19, 21, 23, 25]) expect(decodeInflight(new Uint8Array(length))).toBe(undefined)
  })

  it('are called by their names', () => {
    expect(requestName({ SET_STATUS: 39 }, 39)).toBe('SET_STATUS')
    expect(requestName({ SET_STATUS: 39 }, 4711)).toBe('request 4711')
  })
})
