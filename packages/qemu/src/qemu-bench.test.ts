import { readFileSync } from 'node:fs'
import { openFdCount } from '@virtio-ts/native'
import { PciCommand, PciConfig, PciError } from '@virtio-ts/pci'
import { expect, it } from 'vitest'
import { requirement } from '../../../test/requirements.ts'
import { QemuBench } from './qemu-bench.ts'
import type { QemuBenchOptions } from './qemu-bench-options.ts'
import { QemuError } from './qemu-error.ts'
import { alive, RawVirtio } from './raw-virtio.fixture.ts'
import { startBench } from './start-bench.fixture.ts'

const failure = async (options: QemuBenchOptions): Promise<{ code?: string; message: string }> => {
  const before = openFdCount()
  const error = await QemuBench.start(options).then(
    () => new Error('it started'),
    (reason: Error) => reason,
  )
  expect(openFdCount()).toBe(before)
  return error
}

requirement('qemu')('start and close', () => {
  it('20 times leave no descriptor and no process', async () => {
    const counts: number[] = []
    for (let round = 0; round < 20; round++) {
      const bench = await QemuBench.start({ machine: round % 2 ? 'pc' : 'q35', devices: ['virtio-rng-pci'] })
      const fn = bench.function(0)
      fn.enableMsix(2)
      fn.intx()?.watch(() => {})
      const { pid } = bench
      expect(alive(pid)).toBe(true)
      await bench.close()
      expect(alive(pid)).toBe(false)
      counts.push(openFdCount())
    }
    expect(new Set(counts).size).toBe(1)
    expect(readFileSync('/proc/self/maps', 'latin1')).not.toContain('virtio-ts-ram')
  })

  it('close is idempotent, from anywhere, and ends everything', async () => {
    const bench = await QemuBench.start({ devices: ['virtio-rng-pci'] })
    const fn = bench.function(0)
    const reasons: Error[] = []
    fn.onGone((reason) => reasons.push(reason))
    let exits = 0
    bench.onExit(() => exits++)
    await Promise.all([bench.close(), bench.close(), bench[Symbol.asyncDispose]()])
    await bench.close()
    expect(reasons).toMatchObject([{ code: 'qemu.closed' }])
    expect(exits).toBe(0)
    expect(fn.gone).toBe(true)
    expect(fn.configRead32(0)).toBe(0xffffffff)
    fn.bar(4).write32(0, 1)
    fn.bar(4).notify(0, 1, 16)
    fn.disableMsix()
    await fn.close()
    expect(bench.functions).toEqual([])
    expect(() => bench.function(0)).toThrowError(expect.objectContaining({ code: 'qemu.closed' }))
    await expect(bench.rescan()).rejects.toMatchObject({ code: 'qemu.closed' })
    await expect(bench.hotAdd('virtio-rng-pci')).rejects.toMatchObject({ code: 'qemu.closed' })
    await expect(bench.qmp.setLink('x', true)).rejects.toMatchObject({ code: 'qemu.closed' })
  })

  it('close ends a QEMU that does not answer, too', async () => {
    const bench = await QemuBench.start({ devices: [] })
    process.kill(bench.pid, 'SIGSTOP')
    await bench.close()
    expect(alive(bench.pid)).toBe(false)
  })

  it.each([
    { memory: 2 ** 21 },
    { memory: 2 ** 31 },
    { memory: 2 ** 31, highMemory: true },
    { memory: 2 ** 21, highMemory: true, machine: 'pc' },
  ] as const)('with %j all memory can be had, and no more', async (options) => {
    const bench = await startBench({ devices: [], ...options })
    const length = options.memory - ('highMemory' in options ? 0 : 2 ** 20)
    expect(() => bench.dma.allocate(length + 1)).toThrowError(expect.objectContaining({ code: 'memory.exhausted' }))
    // The last page is QEMU's too: what we write there is read back through the wire.
    const end = bench.dma.allocate(4096)
    end.bytes[4095] = 0x5a
    expect(bench.qtest.read('memory', 8, end.deviceAddress + 4095)).toBe(0x5a)
  })

  it('many benches live side by side', async () => {
    const benches = await Promise.all([1, 2, 3].map(() => QemuBench.start({ devices: ['virtio-rng-pci'] })))
    expect(new Set(benches.map(({ pid }) => pid)).size).toBe(3)
    for (const bench of benches) expect(bench.function(0).configRead16(0)).toBe(0x1af4)
    await Promise.all(benches.map((bench) => bench.close()))
  })
})

requirement('qemu')('what cannot start says why, quickly, and leaves nothing behind', () => {
  it('a binary that is missing', async () => {
    const error = await failure({ devices: [], binary: 'qemu-system-nowhere' })
    expect(error).toBeInstanceOf(QemuError)
    expect(error).toMatchObject({ code: 'qemu.not-found', message: expect.stringContaining('apt-get install') })
    expect(await failure({ devices: [], binary: '/nowhere/qemu' })).toMatchObject({ code: 'qemu.not-found' })
    // there, but no program
    expect(await failure({ devices: [], binary: '/etc/passwd' })).toMatchObject({ code: 'qemu.not-found' })
  })

  it('VIRTIO_TS_QEMU names the binary', async () => {
    process.env['VIRTIO_TS_QEMU'] = '/nowhere/from-environment'
    try {
      expect((await failure({ devices: [] })).message).toContain('/nowhere/from-environment')
    } finally {
      delete process.env['VIRTIO_TS_QEMU']
    }
  })

  it.each([
    [
      'a device there is none of',
      ['virtio-nothing-pci'],
      "'virtio-nothing-pci' is not a valid device model name",
      '-device help',
    ],
    ['a property there is none of', ['virtio-rng-pci,colour=red'], "Property 'virtio-rng-pci.colour' not found", ''],
    ['a netdev there is none of', ['virtio-net-pci,netdev=n7'], "can't find value 'n7'", ''],
  ])('%s', async (_, devices, said, remedy) => {
    const error = await failure({ devices })
    expect(error).toMatchObject({ code: 'qemu.start-failed' })
    expect(error.message).toContain(said)
    expect(error.message).toContain(remedy)
    expect(error.message).toContain('exit status 1')
  })

  it('a program that ends at once, one that is no QEMU, one that never answers', async () => {
    expect(await failure({ devices: [], binary: 'true' })).toMatchObject({ code: 'qemu.start-failed' })
    const notQemu = await failure({ devices: [], binary: 'cat' })
    expect(notQemu).toMatchObject({ code: 'qemu.start-failed' })
    expect(notQemu.message).toContain('option')
  })

  it('a start that takes too long', async () => {
    const error = await failure({
      devices: [],
      startTimeout: 300,
      args: ['-S', '-incoming', 'defer'],
      binary: slowQemu(),
    })
    expect(error).toMatchObject({ code: 'qemu.start-failed', message: expect.stringContaining('300 ms') })
  })

  it('a signal, before and during', async () => {
    expect(await failure({ devices: [], signal: AbortSignal.abort(new Error('never mind')) })).toMatchObject({
      message: 'never mind',
    })
    const during = await failure({ devices: [], binary: slowQemu(), signal: AbortSignal.timeout(100) })
    expect(during).toMatchObject({ name: 'TimeoutError' })
  })

  it('options that make no sense', async () => {
    for (const memory of [0, -1, 1000, 2 ** 31 + 4096, NaN, 3 * 2 ** 20 + 1]) {
      expect(await failure({ devices: [], memory })).toBeInstanceOf(RangeError)
    }
    for (const ivshmemVectors of [-1, 257, 0.5]) {
      expect(await failure({ devices: [], ivshmemVectors })).toBeInstanceOf(RangeError)
    }
    expect(await failure({ devices: ['id=x'] })).toBeInstanceOf(TypeError)
    expect(await failure({ devices: ['virtio-rng-pci,id=x', 'virtio-rng-pci,id=x'] })).toBeInstanceOf(TypeError)
    expect(await failure({ devices: ['virtio-rng-pci\n-drive'] })).toBeInstanceOf(TypeError)
  })
})

requirement('qemu')('functions', () => {
  it.each([
    ['q35', '0000:00:01.0'],
    ['pc', '0000:00:02.0'],
  ] as const)('%s: a transitional network card shows its registers', async (machine, address) => {
    const bench = await startBench({
      machine,
      devices: ['virtio-net-pci,netdev=n0'],
      netdevs: ['user,id=n0'],
    })
    const fn = bench.function('device0')
    expect(fn).toMatchObject({ address, bus: 'qemu', id: 'device0', gone: false, msixVectors: 4 })
    expect([fn.configRead16(0), fn.configRead16(2), fn.configRead32(0), fn.configRead8(3)]).toEqual([
      0x1af4, 0x1000, 0x10001af4, 0x10,
    ])
    expect(fn.configRead16(PciConfig.SUBSYSTEM_ID)).toBe(1)
    // decoding on, bus master and INTx off
    expect(fn.configRead16(PciConfig.COMMAND)).toBe(
      PciCommand.IO_SPACE | PciCommand.MEMORY_SPACE | PciCommand.INTX_DISABLE,
    )
    // common configuration: 3 queues, status 0 after reset; the select registers keep what is written
    const { common } = new RawVirtio(fn)
    expect(common.bar.read16(common.offset + 18)).toBe(3)
    expect(common.bar.read8(common.offset + 20)).toBe(0)
    common.bar.write32(common.offset, 1)
    expect(common.bar.read32(common.offset + 4) & 1).toBe(1)
    common.bar.write16(common.offset + 22, 2)
    expect(common.bar.read16(common.offset + 22)).toBe(2)
    // legacy interface in an I/O BAR: the same lower features, the same MAC in both interfaces
    const legacy = fn.bar(0)
    expect(legacy).toMatchObject({ kind: 'io', index: 0, length: 32 })
    common.bar.write32(common.offset, 0)
    // but for the bits that only legacy drivers know
    const shared = ~((1 << 6) | (1 << 24) | (1 << 27) | (1 << 30))
    expect(legacy.read32(0) & shared).toBe(common.bar.read32(common.offset + 4) & shared)
    legacy.write8(18, 3)
    expect(legacy.read8(18)).toBe(3)
    expect(common.bar.read8(common.offset + 20)).toBe(3)
    legacy.notify(16, 0, 16)
    expect([legacy.read8(20), legacy.read8(21), legacy.read8(22)]).toEqual([0x52, 0x54, 0x00])
  })

  it('are found by id, index and address, in the order of the options', async () => {
    const bench = await startBench({
      devices: ['virtio-rng-pci,addr=9,id=late', 'virtio-rng-pci,addr=3', '{"driver":"virtio-rng-pci","addr":"5"}'],
      args: ['-device', 'virtio-rng-pci,addr=2'],
    })
    expect(bench.functions.map(({ id, address }) => [id, address])).toEqual([
      ['late', '0000:00:09.0'],
      ['device1', '0000:00:03.0'],
      ['device2', '0000:00:05.0'],
      ['', '0000:00:02.0'],
    ])
    expect(bench.function('late')).toBe(bench.function(0))
    expect(bench.function('0000:00:03.0')).toBe(bench.function(1))
    for (const wrong of ['nobody', 4, -1]) {
      expect(() => bench.function(wrong)).toThrowError(expect.objectContaining({ code: 'qemu.no-function' }))
    }
    expect(() => bench.function('nobody')).toThrowError('late 0000:00:09.0')
  })

  it('refuse accesses outside of a BAR or of configuration space', async () => {
    const bench = await startBench({ devices: ['virtio-rng-pci'] })
    const fn = bench.function(0)
    const bar = fn.bar(4)
    const bounds = expect.objectContaining({ code: 'pci.bar-bounds' })
    expect(() => bar.read8(bar.length)).toThrowError(bounds)
    expect(() => bar.read32(bar.length - 3)).toThrowError(bounds)
    expect(() => bar.write16(-1, 0)).toThrowError(bounds)
    expect(() => bar.read8(0.5)).toThrowError(bounds)
    expect(() => bar.read8(NaN)).toThrowError(bounds)
    expect(() => bar.notify(bar.length, 0, 16)).toThrowError(bounds)
    expect(bar.read32(bar.length - 4)).toBeTypeOf('number')
    expect(() => fn.bar(2)).toThrowError(PciError)
    expect(() => fn.bar(5)).toThrowError(expect.objectContaining({ code: 'pci.no-bar' }))
    for (const offset of [-4, 4096, 2, NaN]) {
      expect(() => fn.configRead32(offset)).toThrowError(expect.objectContaining({ code: 'pci.access' }))
    }
    await expect(fn.reset()).rejects.toMatchObject({ code: 'pci.no-reset' })
    // QEMU is still there: nothing malformed has reached it
    expect(fn.configRead16(0)).toBe(0x1af4)
  })

  it('values wrap to the register width and never make a malformed command', async () => {
    const bench = await startBench({ devices: ['virtio-rng-pci'] })
    const fn = bench.function(0)
    const { common } = new RawVirtio(fn)
    for (const [value, expected] of [
      [-1, 0xffffffff],
      [2 ** 32 + 1, 1],
      [NaN, 0],
      [1.9, 1],
    ] as const) {
      common.bar.write32(common.offset, value)
      expect(common.bar.read32(common.offset)).toBe(expected)
    }
  })

  it('behind a root port can be reset, and are restored', async () => {
    const bench = await startBench({
      devices: ['pcie-root-port,id=port0,chassis=1', 'virtio-rng-pci,bus=port0,id=rng'],
    })
    const fn = bench.function('rng')
    expect(fn.configRead16(PciConfig.DEVICE_ID)).toBe(0x1044)
    const device = new RawVirtio(fn)
    const [vector] = fn.enableMsix(1)
    device.begin()
    expect(device.status).toBe(11)
    await fn.reset()
    expect(device.status).toBe(0)
    expect(fn.configRead16(PciConfig.COMMAND) & PciCommand.BUS_MASTER).toBe(0)
    expect(vector?.drain()).toBe(false)
    // and works again from the start
    fn.enableMsix(1)
    device.begin()
    const queue = device.queue(0, 0)
    device.driverOk()
    queue.add(fn.dma.allocate(16), true)
    queue.notify()
    while (queue.used === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  })

  it.each(['q35', 'pc'] as const)('%s: come back after a system reset with a rescan', async (machine) => {
    const bench = await startBench({
      machine,
      devices: [
        'virtio-rng-pci,id=rng',
        ...(machine === 'q35' ? ['pcie-root-port,id=port0,chassis=1', 'virtio-rng-pci,bus=port0,id=behind'] : []),
      ],
    })
    expect(await bench.rescan()).toEqual({ added: [], removed: [], reset: [] })
    const [vector] = bench.function('rng').enableMsix(1)
    const line = bench.function('rng').intx()
    await bench.qmp.systemReset()
    expect(await bench.rescan()).toEqual({ added: [], removed: [], reset: bench.functions })
    expect(() => vector?.watch(() => {})).toThrow('closed')
    expect(bench.function('rng').intx()).not.toBe(line)
    for (const fn of bench.functions) {
      fn.enableMsix(1)
      const device = new RawVirtio(fn)
      device.begin()
      const queue = device.queue(0, 0)
      device.driverOk()
      queue.add(fn.dma.allocate(16), true)
      queue.notify()
      while (queue.used === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    }
  })
})

/** A program that takes QEMU's place, holds its descriptors, and says nothing. */
function slowQemu(): string {
  return new URL('./silent-qemu.fixture.sh', import.meta.url).pathname
}
