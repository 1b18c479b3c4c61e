import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { sloppy, strict } from '@virtio-ts/device-models'
import { afterEach, describe, expect, it } from 'vitest'
import {
  bytesOf,
  type ConsoleBench,
  type ConsoleBenchOptions,
  openConsoleBench,
  text,
  turns,
  written,
} from '../test-support/console-bench.ts'
import { ConsoleDriver, type ConsolePort } from './index.ts'

const benches: ConsoleBench[] = []

async function bench(options: ConsoleBenchOptions = {}): Promise<ConsoleBench> {
  const opened = await openConsoleBench(options)
  benches.push(opened)
  return opened
}

afterEach(async () => {
  for (const { driver, fn } of benches.splice(0)) {
    await driver.close()
    expect(fn.violations).toEqual([])
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await fn.close()
  }
})

const twoPorts = { ports: [{ console: true }, { name: 'org.example.agent', connected: false }] }

/** Bytes that differ from place to place, so that one lost, doubled or moved shows. */
function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >>> 8) * 13 + (i >>> 16)) & 0xff)
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

async function read(port: ConsolePort, length: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for (let done = 0; done < length; ) {
    const part = port.read() as Uint8Array | null
    if (part === null) await once(port, 'readable')
    else done += parts[parts.push(part) - 1]!.length
  }
  return Buffer.concat(parts)
}

const interfaces: readonly (readonly [string, ConsoleBenchOptions])[] = [
  ['modern', {}],
  ['legacy', { on: { interface: 'legacy' } }],
  ['deferred', { on: { execution: 'deferred' } }],
  ['without MSI-X', { on: { msix: false } }],
  ['with one vector for all', { on: { msix: 1 } }],
  ['packed', { on: { ringFeatures: { RING_PACKED: true } } }],
  ['strict', { profile: strict() }],
  ['sloppy', { profile: sloppy(), options: { trust: 'tolerant' } }],
  ['without MULTIPORT', { model: { multiport: false } }],
]

describe.each(interfaces)('port 0 of a device that is %s', (_name, options) => {
  it('§ 5.3.6 carries bytes both ways, in order, whatever the size of the pieces', async () => {
    const { model, port } = await bench(options)
    const bytes = pattern(100_000)
    const [there] = await Promise.all([
      read(port(), bytes.length),
      (async () => {
        for (let at = 0; at < bytes.length; at += 777) {
          model.port(0).send(bytes.subarray(at, at + 777))
          await written(port(), bytes.subarray(at, at + 777))
        }
      })(),
    ])
    expect(sha256(there)).toBe(sha256(bytes))
    port().end()
    await once(port(), 'finish')
    expect(sha256(model.port(0).takeReceived())).toBe(sha256(bytes))
  })
})

describe('back-pressure', () => {
  it('data that nobody reads stays in the device', async () => {
    const { model, port } = await bench({ options: { bufferSize: 64, buffers: 4 } })
    model.port(0).send(pattern(1_000_000))
    await turns()
    expect(model.port(0).pending).toBe(1_000_000)
    port().read(0)
    await turns()
    // What a stream takes of its own accord, and the buffers.
    const waiting = model.port(0).pending
    expect(waiting).toBeGreaterThan(1_000_000 - 16_384 - 64 - 2 * 4 * 64)
    expect(waiting).toBeLessThan(1_000_000)
    await turns()
    expect(model.port(0).pending).toBe(waiting)
    expect(sha256(await read(port(), 1_000_000))).toBe(sha256(pattern(1_000_000)))
  })

  it('a peer that does not read stops the writer, and nothing is lost when it reads again', async () => {
    const { model, port } = await bench({ options: { bufferSize: 64, buffers: 4 } })
    model.port(0).reading = false
    const bytes = pattern(50_000)
    let done = 0
    for (let at = 0; at < bytes.length; at += 1000)
      void written(port(), bytes.subarray(at, at + 1000)).then(() => done++)
    await turns()
    // 256 bytes fit the device's buffers: not one write of 1000 is done.
    expect(done).toBe(0)
    expect(port().write(Uint8Array.of(1))).toBe(false)
    expect(model.port(0).takeReceived()).toHaveLength(0)
    model.port(0).reading = true
    port().end()
    await once(port(), 'finish')
    expect(sha256(model.port(0).takeReceived())).toBe(sha256(Buffer.concat([bytes, Uint8Array.of(1)])))
  })

  it.each([{}, { ringFeatures: { EVENT_IDX: false } }])(
    'goes on without a watchdog, in small buffers, %o',
    async (on) => {
      const { model, port } = await bench({ on, options: { watchdog: 0, buffers: 2, bufferSize: 16 } })
      const bytes = pattern(10_000)
      const came = read(port(), bytes.length)
      await turns()
      // All at once, so that the device has the next buffer full before the driver has seen the last.
      model.port(0).send(bytes)
      const sent = written(port(), bytes)
      expect(sha256(await came)).toBe(sha256(bytes))
      await sent
      port().end()
      await once(port(), 'finish')
      expect(sha256(model.port(0).takeReceived())).toBe(sha256(bytes))
    },
  )

  it('the end of the stream waits for the device to take what was written', async () => {
    const { model, port } = await bench()
    model.port(0).reading = false
    port().end('last words')
    let finished = false
    port().on('finish', () => (finished = true))
    await turns()
    expect(finished).toBe(false)
    model.port(0).reading = true
    await once(port(), 'finish')
    expect(text(model.port(0).takeReceived())).toBe('last words')
  })
})

describe('§ 5.3.6.2.2 ports', () => {
  it('are there when the driver is open, with names and what they are', async () => {
    const { driver, port, model } = await bench({ model: twoPorts })
    expect(driver.ports.map(({ id, name, isConsole, hostConnected }) => [id, name, isConsole, hostConnected])).toEqual([
      [0, undefined, true, true],
      [1, 'org.example.agent', false, false],
    ])
    expect(port('org.example.agent').id).toBe(1)
    expect(driver.port('nobody')).toBeUndefined()
    expect(model.driverReady).toBe(true)
  })

  it('a console is opened at once, as the device is owed an answer; others when they are used, and by open()', async () => {
    const { model, port } = await bench({ model: { ports: [{ console: true }, {}, {}, {}] } })
    expect(model.port(0)).toMatchObject({ driverOpen: true, owesOpen: false })
    expect([1, 2, 3].map((id) => model.port(id).driverOpen)).toEqual([false, false, false])
    port(1).open()
    port(2).read(0)
    await written(port(3), bytesOf('x'))
    await turns()
    expect([1, 2, 3].map((id) => model.port(id).driverOpen)).toEqual([true, true, true])
  })

  it('that are closed can be had again, and what came in between is nobody’s', async () => {
    const { model, port, driver } = await bench({ model: twoPorts, options: { buffers: 2, bufferSize: 16 } })
    const first = port(1)
    first.resume()
    await turns()
    first.destroy()
    await once(first, 'close')
    await turns()
    expect(model.port(1).driverOpen).toBe(false)
    const second = port(1)
    expect(second).not.toBe(first)
    expect(second).toMatchObject({ name: 'org.example.agent', destroyed: false })
    // Into the two buffers that the device still has, as one does that has not heard yet.
    model.port(1).driverOpen = true
    model.port(1).send(new Uint8Array(32))
    await turns()
    const reading = read(second, 3)
    await turns()
    model.port(1).send(bytesOf('new'))
    expect(text(await reading)).toBe('new')
    expect(driver.ports).toHaveLength(2)
  })

  it('tell who is at the other end', async () => {
    const { model, port } = await bench({ model: twoPorts })
    const seen: string[] = []
    for (const event of ['host-connected', 'host-disconnected']) port(1).on(event, () => seen.push(event))
    model.port(1).connected = true
    await turns()
    expect(port(1).hostConnected).toBe(true)
    model.port(1).connected = false
    await turns()
    expect(port(1).hostConnected).toBe(false)
    expect(seen).toEqual(['host-connected', 'host-disconnected'])
  })

  it('come and go while others are in use', async () => {
    const { model, driver, port } = await bench({ model: { maxPorts: 8 } })
    const seen: string[] = []
    driver.on('port-added', ({ id, name }) => seen.push(`+${id} ${name}`))
    driver.on('port-removed', ({ id }) => seen.push(`-${id}`))
    const going = written(port(0), pattern(100_000))
    model.addPort({ name: 'late' })
    await turns()
    expect(port('late').id).toBe(1)
    await written(port('late'), bytesOf('hello'))
    await turns()
    expect(text(model.port(1).takeReceived())).toBe('hello')
    model.removePort(1)
    await turns()
    expect(driver.ports.map(({ id }) => id)).toEqual([0])
    model.addPort({ id: 1, name: 'again' })
    await turns()
    await written(port('again'), bytesOf('hello again'))
    await turns()
    expect(text(model.port(1).takeReceived())).toBe('hello again')
    await going
    expect(seen).toEqual(['+1 late', '-1', '+1 again'])
  })

  it('a port that is taken away ends well when nothing was on its way', async () => {
    const { model, port } = await bench({ model: twoPorts })
    const gone = port(1)
    const came = read(gone, 4)
    await turns()
    model.port(1).send(bytesOf('last'))
    model.removePort(1)
    expect(text(await came)).toBe('last')
    gone.resume()
    await once(gone, 'close')
    expect(gone.errored).toBeNull()
    await expect(written(gone, bytesOf('x'))).rejects.toBeInstanceOf(Error)
  })

  it('a port that is taken away with data on its way says so', async () => {
    const { model, port } = await bench({ model: twoPorts, options: { buffers: 2, bufferSize: 16 } })
    model.port(1).reading = false
    const gone = port(1)
    const lost = written(gone, new Uint8Array(1000))
    await turns()
    model.removePort(1)
    await expect(lost).rejects.toMatchObject({ code: 'console.port-removed' })
    expect(gone.errored).toMatchObject({ code: 'console.port-removed' })
  })

  it('a port that is taken away before the device took what was written says so, though the write was done', async () => {
    const { model, port } = await bench({ model: twoPorts })
    model.port(1).reading = false
    const gone = port(1)
    await written(gone, bytesOf('short'))
    model.removePort(1)
    await expect(once(gone, 'close')).rejects.toMatchObject({ code: 'console.port-removed' })
    expect(gone.errored).toMatchObject({ code: 'console.port-removed' })
  })

  it('all that a device can have, 31 of them, take memory only when they are there', async () => {
    const { model, driver, fn } = await bench({ model: { maxPorts: 31 } })
    const before = fn.dma.stats.allocatedBytes
    expect(driver.describe().queues).toHaveLength(64)
    for (let id = 1; id < 31; id++) model.addPort({ id, name: `port${id}` })
    await turns(200)
    expect(driver.ports.map(({ name }) => name).slice(1)).toEqual(Array.from({ length: 30 }, (_, i) => `port${i + 1}`))
    expect(fn.dma.stats.allocatedBytes - before).toBe(30 * 2 * 8 * 4096)
    for (let round = 0; round < 3; round++) {
      for (let id = 1; id < 31; id++) model.removePort(id)
      await turns(50)
      for (let id = 1; id < 31; id++) model.addPort({ id })
      await turns(200)
    }
    expect(fn.dma.stats.allocatedBytes - before).toBe(30 * 2 * 8 * 4096)
  })

  it('beyond what the driver made queues for are refused', async () => {
    const { model, driver } = await bench({ model: { maxPorts: 8 }, options: { maxPorts: 2 } })
    expect(driver.describe().queues).toHaveLength(6)
    model.addPort({ id: 5 })
    model.addPort({ id: 1 })
    await turns()
    expect(driver.ports.map(({ id }) => id)).toEqual([0, 1])
    expect(model.port(5).ready).toBe(false)
    expect(driver.stats()).toMatchObject({ ports_refused: 1 })
  })
})

describe('size', () => {
  it.each([[true], [false]])('§ 5.3.6 is in the configuration, with MULTIPORT: %s', async (multiport) => {
    const { model, driver, port } = await bench({ model: { multiport, size: { columns: 132, rows: 43 } } })
    expect(port().size).toEqual({ columns: 132, rows: 43 })
    const sizes: unknown[] = []
    driver.on('resize', ({ id }, size) => sizes.push([id, size]))
    model.resize(0, { columns: 100, rows: 30 })
    await turns()
    expect(sizes).toEqual([[0, { columns: 100, rows: 30 }]])
    expect(port().size).toEqual({ columns: 100, rows: 30 })
  })

  it('comes by message where there is no SIZE, for any port', async () => {
    const { model, driver, port } = await bench({
      model: { size: false, ports: [{ console: true }, { console: true }] },
    })
    expect(port(1).size).toBeUndefined()
    const sizes: unknown[] = []
    driver.on('resize', ({ id }, { columns, rows }) => sizes.push([id, columns, rows]))
    model.resize(1, { columns: 90, rows: 20 })
    await turns()
    model.resize(1, { columns: 90, rows: 20 })
    await turns()
    expect(sizes).toEqual([[1, 90, 20]])
  })

  it('of the message stands, where the configuration was left as it was', async () => {
    const { model, port } = await bench({ model: { size: { columns: 80, rows: 25 } } })
    model.say(Uint8Array.of(0, 0, 0, 0, 5, 0, 0, 0, 120, 0, 40, 0))
    await turns()
    model.host?.configChanged(true)
    await turns()
    expect(port().size).toEqual({ columns: 120, rows: 40 })
  })
})

describe('the driver', () => {
  it('works polled', async () => {
    const { model, driver, port } = await bench({
      model: twoPorts,
      options: { interrupts: 'none', buffers: 2, bufferSize: 64 },
    })
    expect(driver.ports).toHaveLength(2)
    const bytes = pattern(5000)
    model.port(0).send(bytes)
    const both = Promise.all([read(port(), bytes.length), written(port(), bytes)])
    let settled = false
    void both.finally(() => (settled = true))
    while (!settled) {
      driver.poll()
      await turns(1)
    }
    expect(sha256((await both)[0])).toBe(sha256(bytes))
    expect(sha256(model.port(0).takeReceived())).toBe(sha256(bytes))
  })

  it('does not let a listener that throws keep the device waiting', async () => {
    const { model, port } = await bench({ model: twoPorts })
    const thrown: unknown[] = []
    const caught = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => thrown.push(error.message))
    try {
      let seen = 0
      port().on('data', () => {
        seen++
        throw new Error('of a listener')
      })
      await turns()
      model.port(0).send(bytesOf('one'))
      await turns()
      model.port(0).send(bytesOf('two'))
      await turns()
      expect(seen).toBe(2)
      expect(thrown).toEqual(['of a listener', 'of a listener'])
    } finally {
      process.removeAllListeners('uncaughtException')
      for (const listener of caught) process.on('uncaughtException', listener)
    }
  })

  it('ends its ports when it is closed', async () => {
    const { driver, port } = await bench()
    const open = port()
    open.resume()
    await turns()
    await driver.close()
    expect(open.destroyed).toBe(true)
    expect(open.errored).toBeNull()
    expect(driver.ports).toEqual([])
    await expect(written(open, bytesOf('x'))).rejects.toBeInstanceOf(Error)
  })

  it.each([{ maxPorts: 0 }, { bufferSize: 0 }, { buffers: 1.5 }, { watchdog: -1 }])(
    'refuses %o before the device hears of it',
    async (options) => {
      const { fn } = await bench()
      await expect(ConsoleDriver.open(undefined as never, options)).rejects.toBeInstanceOf(RangeError)
      expect(fn.violations).toEqual([])
    },
  )
})
