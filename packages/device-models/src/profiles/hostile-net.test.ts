import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { NetModel } from '../net/net-model.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { hostile } from './hostile.ts'
import type { HostileNetKind } from './hostile-net.ts'
import type { HostileScript } from './hostile-script.ts'

const bit = (...bits: number[]): bigint => bits.reduce((set, n) => set | (1n << BigInt(n)), 0n)

/** One frame of 100 bytes into buffers of 80 bytes that may be merged. */
function receive(script: Omit<HostileScript<HostileNetKind>, 'kind'> & { kind: HostileNetKind }, length = 100) {
  const model = new NetModel()
  const fn = modelFunction(model, { profile: hostile(script) })
  const driver = new HandDriver(fn)
  const [queue, , control] = driver.start(bit(5, 15, 17, 18, 32), 3)
  const buffers = Array.from({ length: 4 }, (_, n) => {
    const region = driver.buffer(80)
    queue?.descriptor(n, region.deviceAddress, 80, 2)
    queue?.offer(n)
    return region.bytes
  })
  const frame = Uint8Array.from({ length }, (_, n) => [0x52, 0x54, 0, 0x12, 0x34, 0x56][n] ?? n)
  const outcome = model.deliver(frame)
  const used = queue?.takeUsed().map(({ len }) => len)
  return {
    model,
    driver,
    control,
    outcome,
    used,
    buffers,
    header: [...(buffers[0] ?? new Uint8Array()).subarray(0, 12)],
  }
}

const cases: Readonly<Record<HostileNetKind, () => void | Promise<void>>> = {
  'num-buffers-0': () => {
    expect(receive({ kind: 'num-buffers-0' })).toMatchObject({
      used: [80, 32],
      header: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    })
  },
  'num-buffers-huge': () => {
    expect(receive({ kind: 'num-buffers-huge' }).header.slice(10)).toEqual([0xff, 0xff])
    expect(receive({ kind: 'num-buffers-huge', value: 17 }).header.slice(10)).toEqual([17, 0])
  },
  'fragments-missing': () => {
    expect(receive({ kind: 'fragments-missing' })).toMatchObject({
      used: [80],
      header: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0],
    })
    const single = receive({ kind: 'fragments-missing' }, 40)
    expect(single).toMatchObject({ used: [52] })
    expect(single.header.slice(10)).toEqual([2, 0])
  },
  'fragment-empty': () => {
    expect(receive({ kind: 'fragment-empty' }).used).toEqual([80, 0])
  },
  'short-header': () => {
    expect(receive({ kind: 'short-header' }).used).toEqual([4, 32])
    expect(receive({ kind: 'short-header', value: 0 }, 40).used).toEqual([0])
  },
  runt: () => {
    expect(receive({ kind: 'runt' }, 40).used).toEqual([16])
  },
  'bad-csum': () => {
    expect(receive({ kind: 'bad-csum' }).header).toEqual([1, 0, 0, 0, 0, 0, 0x60, 0xea, 16, 0, 2, 0])
  },
  'bad-gso': () => {
    expect(receive({ kind: 'bad-gso' }).header.slice(0, 6)).toEqual([1, 0x7f, 0, 0, 0, 0])
    expect(receive({ kind: 'bad-gso', value: 1 }).header[1]).toBe(1)
  },
  'bad-flags': () => {
    expect(receive({ kind: 'bad-flags' }).header[0]).toBe(0xff)
  },
  'bad-hdr-len': () => {
    expect(receive({ kind: 'bad-hdr-len' }).header.slice(2, 4)).toEqual([0xff, 0xff])
  },
  'false-data-valid': () => {
    const { header, buffers } = receive({ kind: 'false-data-valid' })
    expect(header[0]).toBe(2)
    expect(buffers[1]?.[31]).toBe(0xa5)
  },
  'payload-change': async () => {
    const { used, buffers } = receive({ kind: 'payload-change' })
    expect(used).toEqual([80, 32])
    expect(buffers[1]?.[0]).toBe(68)
    await turn()
    expect(buffers[0]?.every((byte) => byte === 0xa5)).toBe(true)
    expect(buffers[1]?.every((byte) => byte === 0xa5)).toBe(true)
    expect(buffers[2]?.[0]).toBe(0)
  },
  'ack-garbage': () => {
    const { driver, control } = receive({ kind: 'ack-garbage' })
    const region = driver.buffer(4, Uint8Array.of(0, 0, 1, 7))
    control?.chain(0, [
      [region.deviceAddress, 3, false],
      [region.deviceAddress + 3, 1, true],
    ])
    control?.offer(0)
    driver.notify(2)
    expect(region.bytes[3]).toBe(0xff)
  },
}

describe('hostile as a network device', () => {
  it.each(Object.entries(cases))('%s', async (_kind, check) => {
    await check()
  })

  it('is honest until its turn comes', () => {
    const { used, header } = receive({ kind: 'num-buffers-0', after: 1 })
    expect(used).toEqual([80, 32])
    expect(header[10]).toBe(2)
  })
})
