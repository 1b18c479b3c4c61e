import { openFdCount } from '@virtio-ts/native'
import { expect, it } from 'vitest'
import { requirement } from '../../../test/requirements.ts'
import { QemuBench } from './qemu-bench.ts'
import { RawVirtio } from './raw-virtio.fixture.ts'

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

requirement('qemu')('QEMU ends while in use', () => {
  it('registers read as all-ones, nothing throws or hangs, listeners hear of it', async () => {
    const before = openFdCount()
    const bench = await QemuBench.start({ devices: ['virtio-rng-pci', 'virtio-rng-pci'] })
    const [fn, other] = bench.functions as [(typeof bench.functions)[0], (typeof bench.functions)[0]]
    const [vector] = fn.enableMsix(1)
    vector?.watch(() => {})
    other.intx()?.watch(() => {})
    const bar = fn.bar(4)
    expect(bar.read32(0)).toBe(0)
    const heard: string[] = []
    const told = new Promise<Error>((resolve) => bench.onExit(resolve))
    for (const each of [fn, other]) each.onGone(() => heard.push(each.id))
    fn.onGone(() => heard.push('never'))()
    fn.onGone(() => heard.push('second'))

    process.kill(bench.pid, 'SIGKILL')
    // in a synchronous loop: the event loop cannot tell us
    let reads = 0
    while (bar.read32(0) !== 0xffffffff) reads++
    expect(fn.gone).toBe(true)
    expect([bar.read8(0), bar.read16(0), bar.read32(0)]).toEqual([0xff, 0xffff, 0xffffffff])
    expect([fn.configRead8(0), fn.configRead16(0), fn.configRead32(0)]).toEqual([0xff, 0xffff, 0xffffffff])
    bar.write8(0, 1)
    bar.write16(0, 1)
    bar.write32(0, 1)
    fn.configWrite8(4, 0)
    fn.configWrite16(4, 0)
    fn.configWrite32(4, 0)
    for (let i = 0; i < 1000; i++) bar.notify(0x3000, 0, 16)
    fn.setBusMaster(true)
    expect(() => fn.enableMsix(1)).toThrowError(expect.objectContaining({ code: 'pci.gone' }))
    expect(() => fn.intx()).toThrowError(expect.objectContaining({ code: 'pci.gone' }))
    await expect(fn.reset()).rejects.toMatchObject({ code: 'pci.gone' })
    expect(reads).toBeGreaterThanOrEqual(0)

    const error = await told
    await nextTurn()
    expect(error).toMatchObject({ code: 'qemu.exited', message: expect.stringContaining('by SIGKILL') })
    expect(heard).toEqual(['device0', 'second', 'device1'])
    expect(fn.msixVectors).toBe(0)
    await expect(bench.qmp.execute('query-status')).rejects.toBe(error)
    await expect(bench.rescan()).rejects.toBe(error)
    let late: Error | undefined
    bench.onExit((reason) => (late = reason))
    await nextTurn()
    expect(late).toBe(error)
    fn.disableMsix()
    await Promise.all([fn.close(), bench.close()])
    await bench.close()
    expect(() => bench.function(0)).toThrowError(error)
    expect(openFdCount()).toBe(before)
  })

  it('is noticed on the event loop alone, without any access', async () => {
    const bench = await QemuBench.start({ devices: ['virtio-rng-pci'] })
    const gone = new Promise<Error>((resolve) => bench.function(0).onGone(resolve))
    process.kill(bench.pid, 'SIGTERM')
    expect(await gone).toMatchObject({ code: 'qemu.exited', message: expect.stringContaining('with exit status 0') })
    await bench.close()
  })

  it('in the middle of a QMP command: the command is rejected', async () => {
    const bench = await QemuBench.start({ devices: [] })
    const command = bench.qmp.execute('query-status')
    const event = bench.qmp.next('NEVER')
    process.kill(bench.pid, 'SIGKILL')
    await expect(event).rejects.toMatchObject({ code: 'qemu.exited' })
    // it may have been answered just before
    await command.catch((error) => expect(error).toMatchObject({ code: 'qemu.exited' }))
    await bench.close()
  })

  it('at random moments of set-up and traffic, 25 times', async () => {
    const before = openFdCount()
    for (let round = 0; round < 25; round++) {
      const bench = await QemuBench.start({ devices: ['virtio-rng-pci'] })
      const fn = bench.function(0)
      const gone = new Promise<void>((resolve) => fn.onGone(() => resolve()))
      setTimeout(() => process.kill(bench.pid, 'SIGKILL'), round % 7)
      while (!fn.gone) {
        try {
          fn.enableMsix(2)
          const device = new RawVirtio(fn)
          device.begin()
          const queue = device.queue(0, 0)
          device.driverOk()
          queue.notify()
          fn.dma.free(queue.ring)
          fn.disableMsix()
        } catch (error) {
          // a driver may fail on what a dead device says; the bench itself throws `pci.gone` only
          if (!fn.gone) throw error
        }
        await nextTurn()
      }
      await gone
      await bench.close()
    }
    expect(openFdCount()).toBe(before)
  })

  it('a QEMU that is stopped is given up after the reply timeout, and killed', async () => {
    const bench = await QemuBench.start({ devices: ['virtio-rng-pci'], replyTimeout: 200 })
    const told = new Promise<Error>((resolve) => bench.onExit(resolve))
    process.kill(bench.pid, 'SIGSTOP')
    expect(bench.function(0).bar(4).read32(0)).toBe(0xffffffff)
    expect(await told).toMatchObject({ code: 'qemu.exited', message: expect.stringContaining('200 ms') })
    await bench.close()
  })

  it('a QEMU that crashes leaves its last words', async () => {
    const bench = await QemuBench.start({ devices: ['virtio-rng-pci'] })
    const told = new Promise<Error>((resolve) => bench.onExit(resolve))
    const fn = bench.function(0)
    const device = new RawVirtio(fn)
    device.begin()
    const { ring, notify } = device.queue(0)
    device.driverOk()
    // 999 buffers made available in a ring of 8: QEMU complains, and sets DEVICE_NEEDS_RESET
    ring.bytes.set([999 & 0xff, 999 >> 8], 256 + 2)
    notify()
    while ((device.status & 64) === 0) await nextTurn()
    process.kill(bench.pid, 'SIGABRT')
    expect((await told).message).toMatch(/by SIGABRT .* 999/)
    expect(bench.stderr).toContain('999')
    expect(() => bench.function(0)).toThrowError(expect.objectContaining({ code: 'qemu.exited' }))
    await bench.close()
  })
})
