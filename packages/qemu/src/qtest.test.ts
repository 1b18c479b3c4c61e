import { openFdCount } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { requirement } from '../../../test/requirements.ts'
import { FakeQtest } from './fake-qtest.fixture.ts'
import { QemuError } from './qemu-error.ts'
import { Qtest } from './qtest.ts'
import { RawVirtio } from './raw-virtio.fixture.ts'
import { startBench } from './start-bench.fixture.ts'

let qemu: FakeQtest
let qtest: Qtest
let broken: QemuError[]
const interrupts: [number, boolean][] = []
const wire = (replyTimeout?: number): Qtest => {
  const made = new Qtest(qemu.fd, { replyTimeout })
  broken = []
  interrupts.length = 0
  made.onBroken = (error) => broken.push(error)
  made.onInterrupt = (pin, raised) => interrupts.push([pin, raised])
  return made
}
beforeEach(() => {
  qemu = new FakeQtest()
  qtest = wire()
})
afterEach(() => qemu.close())
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('commands', () => {
  it('spell widths, spaces, addresses beyond 32 bits and values', () => {
    qemu.say('OK 0x00000000000000ab\n')
    expect(qtest.read('memory', 8, 0xfee00000)).toBe(0xab)
    qemu.say('OK 0x00000000ffffffff\n')
    expect(qtest.read('memory', 32, 0x8_0000_1000)).toBe(0xffffffff)
    qemu.say('OK 0x1234\r\n')
    expect(qtest.read('io', 16, 0xc010)).toBe(0x1234)
    qemu.say('OK\n')
    qtest.write('memory', 32, 0x8_0000_1000, 0xfedcba98)
    qemu.say('OK\n')
    qtest.write('io', 8, 0xffff, 0x1ff)
    expect(qemu.heard()).toEqual([
      'readb 0xfee00000',
      'readl 0x800001000',
      'inw 0xc010',
      'writel 0x800001000 0xfedcba98',
      'outb 0xffff 0xff',
    ])
    expect([qtest.outstanding, qtest.broken]).toEqual([0, undefined])
  })

  it.each([
    ['io', 16, 0xffff],
    ['io', 8, 0x10000],
    ['io', 8, -1],
    ['memory', 8, -1],
    ['memory', 8, 0.5],
    ['memory', 8, NaN],
    ['memory', 8, 2 ** 53],
    ['memory', 32, 2 ** 53 - 2],
  ] as const)('an address that is none never reaches QEMU, which would abort: %s %i at %d', (space, width, address) => {
    expect(() => qtest.read(space, width, address)).toThrowError(RangeError)
    expect(() => qtest.write(space, width, address, 0)).toThrowError(RangeError)
    expect(() => qtest.post(space, width, address, 0)).toThrowError(RangeError)
    expect(qemu.heard()).toEqual([])
    expect([qtest.outstanding, qtest.broken]).toEqual([0, undefined])
  })

  it('a command that is held back leaves with the next', () => {
    qtest.post('io', 32, 0xcf8, 0x80000000, true)
    expect(qemu.heard()).toEqual([])
    qemu.say('OK\nOK 0x29c08086\n')
    expect(qtest.read('io', 32, 0xcfc)).toBe(0x29c08086)
    expect(qemu.heard()).toEqual(['outl 0xcf8 0x80000000', 'inl 0xcfc'])
  })
})

describe('posted writes', () => {
  it('do not wait, and their answers are not taken for those of later reads', () => {
    qtest.post('memory', 16, 0x1000, 1)
    qtest.post('memory', 16, 0x1000, 2)
    expect(qtest.outstanding).toBe(2)
    expect(qemu.heard()).toEqual(['writew 0x1000 0x1', 'writew 0x1000 0x2'])
    qemu.say('OK\nOK\nOK 0x0000000000000007\n')
    expect(qtest.read('memory', 8, 0)).toBe(7)
    expect(qtest.outstanding).toBe(0)
  })

  it('are never more than 64 ahead of their answers', () => {
    for (let i = 0; i < 63; i++) qtest.post('memory', 16, 0x1000, i)
    expect(qtest.outstanding).toBe(63)
    // the 64th has to wait until half of them are answered
    qemu.say('OK\n'.repeat(32))
    qtest.post('memory', 16, 0x1000, 63)
    expect(qtest.outstanding).toBe(32)
    expect(qemu.heard()).toHaveLength(64)
  })
})

describe('interrupt lines', () => {
  it('are taken out of the stream wherever they come', () => {
    qemu.say('IRQ raise 21\nOK 0x0000000000000001\nIRQ lower 21\nIRQ rai')
    expect(qtest.read('memory', 8, 0)).toBe(1)
    qemu.say('se 0\nOK\n')
    qtest.write('memory', 8, 0, 1)
    expect(interrupts).toEqual([
      [21, true],
      [21, false],
      [0, true],
    ])
  })

  it('are seen on the event loop while watched', async () => {
    const stop = qtest.watch()
    qemu.say('IRQ raise 5\n')
    while (interrupts.length === 0) await nextTurn()
    stop()
    stop()
    qemu.say('IRQ lower 5\n')
    for (let turn = 0; turn < 5; turn++) await nextTurn()
    expect(interrupts).toEqual([[5, true]])
  })
})

describe('a wire that breaks', () => {
  it.each([
    ['garbage', 'what?\n'],
    ['a refusal', "FAIL Unknown command 'x'\n"],
    ['a value that is none', 'OK 0xzz\n'],
    ['too large a value', 'OK 0x11112222333344445\n'],
    ['a pin that is none', 'IRQ raise x\n'],
    ['an endless line', 'x'.repeat(5000)],
  ])('%s: reads are all-ones, writes go nowhere, told once', (_, said) => {
    qemu.say(said)
    expect(qtest.read('memory', 16, 0)).toBe(0xffff)
    expect(broken).toMatchObject([{ code: 'qemu.protocol' }])
    qemu.heard()
    expect([qtest.read('memory', 8, 0), qtest.read('io', 32, 0)]).toEqual([0xff, 0xffffffff])
    qtest.write('memory', 8, 0, 0)
    qtest.post('memory', 8, 0, 0)
    expect(qemu.heard()).toEqual([])
    expect(broken).toHaveLength(1)
    expect(qtest.broken).toBe(broken[0])
  })

  it('an answer that nobody asked for', async () => {
    const stop = qtest.watch()
    qemu.say('OK\n')
    while (broken.length === 0) await nextTurn()
    expect(broken).toMatchObject([{ code: 'qemu.protocol' }])
    stop()
  })

  it('end of stream: in a read, in a posted write, on the event loop', async () => {
    qemu.hangUp()
    expect(qtest.read('memory', 32, 0)).toBe(0xffffffff)
    expect(broken).toMatchObject([{ code: 'qemu.exited' }])

    qtest = wire()
    for (let i = 0; i < 100; i++) qtest.post('memory', 16, 0, 0)
    expect(broken).toMatchObject([{ code: 'qemu.exited' }])

    qtest = wire()
    // stops by itself, though nobody calls what it returns
    qtest.watch()
    while (broken.length === 0) await nextTurn()
    expect(broken).toMatchObject([{ code: 'qemu.exited' }])
  })

  it('an answer cut off by the end of the stream is none', () => {
    qemu.say('OK 0x00000000000')
    qemu.hangUp()
    expect(qtest.read('memory', 32, 0)).toBe(0xffffffff)
  })

  it('silence', () => {
    qtest = wire(50)
    expect(qtest.read('memory', 32, 0)).toBe(0xffffffff)
    expect(broken).toMatchObject([{ code: 'qemu.protocol', message: expect.stringContaining('50 ms') }])
  })

  it('close() lets go of the descriptor, whatever is under way, and does not call onBroken', async () => {
    const before = openFdCount()
    void qtest.ready()
    qtest.watch()
    qtest.close(new QemuError('qemu.closed', 'enough'))
    expect(openFdCount()).toBe(before)
    qemu.say('IRQ raise 3\n')
    qemu.hangUp()
    for (let turn = 0; turn < 5; turn++) await nextTurn()
    expect([broken, interrupts]).toEqual([[], []])
    expect(qtest.broken).toMatchObject({ code: 'qemu.closed' })
    expect(qtest.read('memory', 8, 0)).toBe(0xff)
  })

  it('ready() resolves all the same', async () => {
    qemu.hangUp()
    await qtest.ready()
    expect(qtest.broken).toMatchObject({ code: 'qemu.exited' })
  })
})

requirement('qemu')('with a real QEMU', () => {
  it('10 000 notifications in a row do not block it', async () => {
    const bench = await startBench({ devices: ['virtio-rng-pci'] })
    const fn = bench.function(0)
    const line = fn.intx()
    const device = new RawVirtio(fn)
    device.begin()
    const queue = device.queue(0)
    device.driverOk()
    const buffer = fn.dma.allocate(8)
    let most = 0
    for (let i = 0; i < 10_000; i++) {
      // every now and then one that makes the device raise its line, whose report comes in between
      if (i % 1000 === 0) queue.add(buffer, true)
      queue.notify()
      most = Math.max(most, bench.qtest.outstanding)
    }
    expect(device.readIsr()).toBe(1)
    expect(bench.qtest.outstanding).toBe(0)
    expect(queue.used).toBe(10)
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThan(64)
    expect(line?.drain()).toBe(true)
  })

  it('a posted write arrives before a later read', async () => {
    const bench = await startBench({ devices: ['virtio-rng-pci'] })
    const { common } = new RawVirtio(bench.function(0))
    for (let value = 0; value < 200; value++) {
      common.bar.notify(common.offset, value, 32)
      expect(common.bar.read32(common.offset)).toBe(value)
    }
  })
})
