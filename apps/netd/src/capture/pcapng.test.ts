import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { enhancedPacket, interfaceDescription, interfaceStatistics, sectionHeader } from './pcapng.ts'

interface Block {
  readonly type: number
  readonly body: DataView
  readonly bytes: Buffer
}

/** Cuts one block open the way a reader does, checking everything that frames it. */
function readBlock(bytes: Uint8Array): Block {
  const buffer = Buffer.from(bytes)
  const length = buffer.readUInt32LE(4)
  expect(length).toBe(bytes.length)
  expect(length % 4).toBe(0)
  expect(buffer.readUInt32LE(length - 4)).toBe(length)
  const body = buffer.subarray(8, length - 4)
  return { type: buffer.readUInt32LE(0), body: new DataView(body.buffer, body.byteOffset, body.length), bytes: body }
}

function readOptions({ bytes }: Block, offset: number): Map<number, Buffer> {
  const options = new Map<number, Buffer>()
  while (offset < bytes.length) {
    const [code, length] = [bytes.readUInt16LE(offset), bytes.readUInt16LE(offset + 2)]
    if (code === 0) {
      expect([length, offset + 4]).toEqual([0, bytes.length])
      return options
    }
    options.set(code, bytes.subarray(offset + 4, offset + 4 + length))
    for (let pad = offset + 4 + length; pad % 4 !== 0; pad++) expect(bytes[pad]).toBe(0)
    offset += 4 + ((length + 3) & ~3)
  }
  throw new Error('options without an end')
}

describe('pcapng blocks', () => {
  it('begin with a section of unknown length', () => {
    const block = readBlock(sectionHeader({ hardware: 'x86_64', os: 'Linux 6', application: 'netd 1' }))
    expect(block.type).toBe(0x0a0d0d0a)
    expect(block.body.getUint32(0, true)).toBe(0x1a2b3c4d)
    expect([block.body.getUint16(4, true), block.body.getUint16(6, true)]).toEqual([1, 0])
    expect(block.body.getBigInt64(8, true)).toBe(-1n)
    expect(Array.from(readOptions(block, 16), ([code, value]) => [code, value.toString()])).toEqual([
      [2, 'x86_64'],
      [3, 'Linux 6'],
      [4, 'netd 1'],
    ])
  })

  it('describe an Ethernet interface with nanoseconds', () => {
    const mac = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3)
    const block = readBlock(interfaceDescription({ name: 'vt0', description: 'model:net', snaplen: 96, mac }))
    expect([block.type, block.body.getUint16(0, true), block.body.getUint32(4, true)]).toEqual([1, 1, 96])
    const options = readOptions(block, 8)
    expect(options.get(2)?.toString()).toBe('vt0')
    expect(options.get(6)?.equals(mac)).toBe(true)
    expect(options.get(9)).toEqual(Buffer.of(9))
  })

  it('hold a packet of any segments, cut at the snap length, with direction, queue and losses', () => {
    const segments = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 5 })
    fc.assert(
      fc.property(
        segments,
        fc.integer({ min: 1, max: 120 }),
        fc.boolean(),
        fc.nat(40_000),
        fc.nat(10),
        fc.string(),
        (parts, snaplen, isRx, queue, dropped, comment) => {
          const time = 1_764_000_000_123_456_789n
          const block = readBlock(
            enhancedPacket({ time, direction: isRx ? 'rx' : 'tx', queue, segments: parts, snaplen, comment, dropped }),
          )
          const frame = Buffer.concat(parts)
          const kept = Math.min(frame.length, snaplen)
          expect(block.type).toBe(6)
          expect((BigInt(block.body.getUint32(4, true)) << 32n) | BigInt(block.body.getUint32(8, true))).toBe(time)
          expect([
            block.body.getUint32(0, true),
            block.body.getUint32(12, true),
            block.body.getUint32(16, true),
          ]).toEqual([0, kept, frame.length])
          expect(block.bytes.subarray(20, 20 + kept)).toEqual(frame.subarray(0, kept))
          const options = readOptions(block, 20 + ((kept + 3) & ~3))
          expect(options.get(1)?.toString() ?? '').toBe(Buffer.from(comment).toString())
          expect(options.get(2)?.readUInt32LE()).toBe(isRx ? 1 : 2)
          expect(options.get(6)?.readUInt32LE()).toBe(queue)
          expect(options.get(4)?.readBigUInt64LE()).toBe(dropped > 0 ? BigInt(dropped) : undefined)
        },
      ),
    )
  })

  it('end with what was received and what was dropped', () => {
    const block = readBlock(
      interfaceStatistics({ start: 1n << 33n, end: (2n << 33n) + 5n, received: 2 ** 40, dropped: 3 }),
    )
    expect([block.type, block.body.getUint32(4, true), block.body.getUint32(8, true)]).toEqual([5, 4, 5])
    const options = readOptions(block, 12)
    expect([options.get(2)?.readUInt32LE(0), options.get(3)?.readUInt32LE(4)]).toEqual([2, 5])
    expect(options.get(4)?.readBigUInt64LE()).toBe(1n << 40n)
    expect(options.get(5)?.readBigUInt64LE()).toBe(3n)
  })
})
