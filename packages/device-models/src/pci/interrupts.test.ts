import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { NetModel } from '../net/net-model.ts'
import { RngModel } from '../rng-model.ts'
import type { ModelFunctionOptions } from './model-function-options.ts'
import { modelFunction } from './model-pci-function.ts'

const VERSION_1 = 1n << 32n
const STATUS = 1n << 16n

function rng(options: ModelFunctionOptions = {}) {
  const fn = modelFunction(new RngModel(), options)
  const driver = new HandDriver(fn)
  const [queue] = driver.start(VERSION_1, 1)
  if (!queue) throw new Error('no queue')
  const room = driver.buffer(16)
  for (let n = 0; n < 8; n++) queue.descriptor(n, room.deviceAddress, 16, 2)
  const isr = () => fn.bar(4).read8(0x1000)
  const request = () => {
    queue.offer(0)
    driver.notify(0)
  }
  return { fn, driver, queue, isr, request }
}

describe('interrupts', () => {
  it('§ 4.1.4.5.1 without MSI-X sets ISR and raises INTx, until ISR is read', () => {
    const { fn, isr, request } = rng()
    const line = fn.intx()
    expect(line?.drain()).toBe(false)
    expect(fn.configRead16(6) & 8).toBe(0)
    request()
    expect(fn.configRead16(6) & 8).toBe(8)
    expect(line?.drain()).toBe(true)
    expect(line?.drain()).toBe(false)
    // The line is up already: another buffer does not raise it again.
    request()
    expect(line?.drain()).toBe(false)
    expect(isr()).toBe(1)
    expect(isr()).toBe(0)
    expect(fn.configRead16(6) & 8).toBe(0)
    request()
    expect(line?.drain()).toBe(true)
  })

  it('lowers the line when ISR is read, even if nobody has seen it', () => {
    const { fn, isr, request } = rng()
    request()
    expect(isr()).toBe(1)
    expect(fn.intx()?.drain()).toBe(false)
  })

  it('keeps the line down while the command register has INTx disabled', () => {
    const { fn, request } = rng()
    const line = fn.intx()
    fn.configWrite16(4, fn.configRead16(4) | 0x400)
    request()
    expect(line?.drain()).toBe(false)
    fn.configWrite16(4, fn.configRead16(4) & ~0x400)
    expect(line?.drain()).toBe(true)
  })

  it('§ 4.1.5.3.1 with MSI-X signals the vector of the queue, and leaves ISR alone', () => {
    const { fn, driver, isr, request } = rng()
    const vectors = fn.enableMsix(2)
    request()
    expect(vectors.map((vector) => vector.drain())).toEqual([false, false])
    driver.set16(22, 0)
    driver.set16(26, 1)
    expect(driver.get16(26)).toBe(1)
    request()
    expect(vectors.map((vector) => vector.drain())).toEqual([false, true])
    expect(isr()).toBe(0)
    expect(fn.intx()?.drain()).toBe(false)
    driver.set16(26, 0xffff)
    request()
    expect(vectors.map((vector) => vector.drain())).toEqual([false, false])
  })

  it('§ 4.1.5.1.2.1 reads a vector it cannot map back as NO_VECTOR', () => {
    const { fn, driver } = rng()
    expect(fn.msixVectors).toBe(2)
    driver.set16(16, 1)
    expect(driver.get16(16)).toBe(1)
    driver.set16(16, 2)
    expect(driver.get16(16)).toBe(0xffff)
  })

  it('keeps a masked message pending, function mask and entry mask alike', () => {
    const { fn, driver, request } = rng()
    const [vector] = fn.enableMsix(2)
    driver.set16(22, 0)
    driver.set16(26, 0)
    let msix = fn.configRead8(0x34)
    while (fn.configRead8(msix) !== 0x11) msix = fn.configRead8(msix + 1)
    fn.configWrite16(msix + 2, 0xc000)
    request()
    expect(vector?.drain()).toBe(false)
    expect(fn.bar(1).read32(0x800)).toBe(1)
    fn.configWrite16(msix + 2, 0x8000)
    expect(vector?.drain()).toBe(true)
    fn.bar(1).write32(12, 1)
    request()
    expect(vector?.drain()).toBe(false)
    fn.bar(1).write32(12, 0)
    expect(vector?.drain()).toBe(true)
  })

  it('§ 4.1.5.4.1 signals configuration changes: ISR 3 as QEMU, the configuration vector with MSI-X', () => {
    const model = new NetModel()
    const fn = modelFunction(model)
    const driver = new HandDriver(fn)
    driver.start(VERSION_1 | STATUS, 2)
    model.setLink(false)
    expect(fn.intx()?.drain()).toBe(true)
    expect(fn.bar(4).read8(0x1000)).toBe(3)
    const vectors = fn.enableMsix(3)
    model.setLink(true)
    expect(vectors.map((vector) => vector.drain())).toEqual([false, false, false])
    driver.set16(16, 2)
    model.setLink(false)
    expect(vectors.map((vector) => vector.drain())).toEqual([false, false, true])
    // § 4.1.4.5.1: the configuration bit is set whether or not MSI-X is enabled.
    expect(fn.bar(4).read8(0x1000) & 2).toBe(2)
  })

  it('§ 2.1.2 sends nothing before DRIVER_OK, and nothing after a reset', () => {
    const model = new NetModel()
    const fn = modelFunction(model)
    const driver = new HandDriver(fn)
    const line = fn.intx()
    driver.negotiate(VERSION_1 | STATUS)
    model.setLink(false)
    expect(line?.drain()).toBe(false)
    const queue = driver.setUpQueue(1, 4)
    driver.status = 15
    driver.status = 0
    const region = driver.buffer(64)
    queue.descriptor(0, region.deviceAddress, 64, 0)
    queue.offer(0)
    driver.notify(1)
    model.setLink(true)
    expect(line?.drain()).toBe(false)
    expect(queue.takeUsed()).toEqual([])
    expect(model.counters.framesFromDriver).toBe(0)
  })

  it('reaches no memory and sends no interrupt without bus mastering', () => {
    const { fn, queue, isr, request } = rng()
    fn.setBusMaster(false)
    request()
    expect(queue.takeUsed()).toEqual([])
    expect(isr()).toBe(0)
    expect(fn.intx()?.drain()).toBe(false)
    fn.setBusMaster(true)
    request()
    expect(queue.takeUsed()).toHaveLength(2)
  })

  it('§ 2.1.2 tells DEVICE_NEEDS_RESET by a configuration change, and a reset heals it', () => {
    const { fn, driver, queue } = rng()
    queue.descriptor(0, 0x10, 16, 2)
    queue.offer(0)
    driver.notify(0)
    expect(driver.status).toBe(0x4f)
    expect(fn.core.fault).toContain('cannot be reached')
    expect(fn.bar(4).read8(0x1000)).toBe(3)
    queue.descriptor(1, driver.buffer(16).deviceAddress, 16, 2)
    queue.offer(1)
    driver.notify(0)
    expect(queue.takeUsed()).toEqual([])
    const [again] = driver.start(VERSION_1, 1)
    again?.descriptor(0, driver.buffer(16).deviceAddress, 16, 2)
    again?.offer(0)
    driver.notify(0)
    expect(driver.status).toBe(15)
    expect(again?.takeUsed()).toEqual([{ id: 0, len: 16 }])
  })

  it('§ 2.4.1 lets go of its queues at once when it is reset from within its own work', () => {
    const model = new NetModel()
    const fn = modelFunction(model)
    const driver = new HandDriver(fn)
    const [, transmit] = driver.start(VERSION_1, 2)
    const region = driver.buffer(72)
    for (const head of [0, 1, 2]) transmit?.descriptor(head, region.deviceAddress, 72, 0)
    transmit?.offer(0, 1, 2)
    model.onFrame(() => {
      driver.status = 0
      expect(driver.status).toBe(0)
      if (transmit) fn.dma.free(transmit.region)
    })
    driver.notify(1)
    expect(model.counters.framesFromDriver).toBe(1)
    expect(transmit?.takeUsed()).toEqual([])
    expect(transmit?.usedFlags).toBe(1)
    expect(fn.violations).toEqual([])
  })

  it('§ 2.1.2 consumes nothing before DRIVER_OK, and nothing while it needs a reset', () => {
    const fn = modelFunction(new RngModel())
    const driver = new HandDriver(fn)
    driver.negotiate(VERSION_1)
    const queue = driver.setUpQueue(0, 8)
    const room = driver.buffer(16)
    for (let n = 0; n < 8; n++) queue.descriptor(n, room.deviceAddress, 16, 2)
    queue.offer(0)
    driver.notify(0)
    expect(queue.takeUsed()).toEqual([])
    driver.status = 15
    driver.notify(0)
    expect(queue.takeUsed()).toHaveLength(1)
    fn.core.needsReset('tested')
    queue.offer(1)
    driver.notify(0)
    expect(queue.takeUsed()).toEqual([])
    // Only a reset takes the bit away.
    driver.status = 15
    expect(driver.status).toBe(0x4f)
  })

  it('works inside the notification, or on the next turn of the event loop', async () => {
    const at = rng()
    at.request()
    expect(at.queue.takeUsed()).toHaveLength(1)
    const later = rng({ execution: 'deferred' })
    later.request()
    expect(later.queue.takeUsed()).toHaveLength(0)
    await turn()
    expect(later.queue.takeUsed()).toHaveLength(1)
    later.request()
    later.driver.status = 0
    await turn()
    expect(later.queue.takeUsed()).toHaveLength(0)
  })

  it('reaches a listener on the event loop', async () => {
    const { fn, driver, request } = rng()
    const [vector] = fn.enableMsix(1)
    driver.set16(22, 0)
    driver.set16(26, 0)
    const heard = new Promise<void>((resolve) => {
      const stop = vector?.watch(() => {
        stop?.()
        resolve()
      })
    })
    request()
    await heard
    await fn.close()
  })

  it('goes: registers read all-ones, memory stays untouched, listeners hear it once', () => {
    const { fn, driver, queue } = rng()
    const reasons: Error[] = []
    fn.onGone((reason) => reasons.push(reason))
    const off = fn.onGone(() => reasons.push(new Error('taken off')))
    off()
    fn.unplug()
    fn.unplug()
    expect(fn.gone).toBe(true)
    expect(reasons).toHaveLength(1)
    expect(driver.status).toBe(0xff)
    expect(driver.get32(4)).toBe(0xffffffff)
    expect(fn.configRead16(0)).toBe(0xffff)
    queue.offer(0)
    fn.bar(4).notify(0x3000, 0, 16)
    expect(queue.takeUsed()).toEqual([])
    fn.onGone((reason) => reasons.push(reason))
    expect(reasons).toHaveLength(2)
  })

  it('resets as a function: device, MSI-X and bus mastering', async () => {
    const { fn, driver } = rng()
    fn.enableMsix(1)
    await fn.reset()
    expect(driver.status).toBe(0)
    expect(fn.configRead16(4) & 4).toBe(0)
    await expect(rng({ functionReset: false }).fn.reset()).rejects.toMatchObject({ code: 'pci.no-reset' })
  })

  it('§ 3.3.1 makes freed memory out of reach: a driver that frees before the reset is found out', () => {
    for (const what of ['ring', 'buffer'] as const) {
      const { fn, driver, queue, request } = rng()
      const region = driver.buffer(16)
      queue.descriptor(0, region.deviceAddress, 16, 2)
      fn.dma.free(what === 'ring' ? queue.region : region)
      request()
      expect(queue.takeUsed()).toEqual([])
      expect(fn.violations.map(({ section }) => section)).toContain('3.3.1')
      expect(driver.status).toBe(0x4f)
    }
  })
})
