import { dying, type HostileKind, type HostileScript, hostile } from '@virtio-ts/device-models'
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

const benches: ConsoleBench[] = []

async function bench(options: ConsoleBenchOptions = {}): Promise<ConsoleBench> {
  const opened = await openConsoleBench(options)
  benches.push(opened)
  return opened
}

afterEach(async () => {
  for (const { driver, fn } of benches.splice(0)) {
    await driver.close().catch(() => {})
    expect(fn.dma.stats.allocatedBytes).toBe(0)
    await fn.close()
  }
})

const fault = ({ driver }: ConsoleBench): Promise<string> =>
  new Promise((resolve) => driver.on('fault', ({ code }) => resolve(code)))

describe('a hostile console ends in a coded fault, and its ports with it', () => {
  const RECEIVE = 0
  const TRANSMIT = 1
  const CONTROL_RECEIVE = 2

  it.each<[HostileKind, number, string]>([
    ['id-range', RECEIVE, 'ring.id-range'],
    ['not-head', RECEIVE, 'ring.not-head'],
    ['duplicate', RECEIVE, 'ring.not-head'],
    ['length-over', RECEIVE, 'ring.length'],
    ['idx-jump', RECEIVE, 'ring.idx-jump'],
    ['id-range', TRANSMIT, 'ring.id-range'],
    ['idx-jump', TRANSMIT, 'ring.idx-jump'],
    ['length-over', CONTROL_RECEIVE, 'ring.length'],
  ])('%s on queue %i', async (kind, queue, code) => {
    // The control queue has been in use a few times when the driver is open: see the model's own first words.
    const script = { kind, queue, after: queue === CONTROL_RECEIVE ? 4 : 0 } as HostileScript<HostileKind>
    const opened = await bench({ profile: hostile(script) })
    const { model, port } = opened
    const open = port()
    open.resume()
    const failed = fault(opened)
    await turns()
    model.port(0).send(bytesOf('input'))
    void written(open, bytesOf('output')).catch(() => {})
    await turns()
    model.addPort()
    await turns()
    // Nobody asks for the buffers that were written until they are needed.
    open.end()
    expect(await failed).toMatch(code)
    await turns()
    expect(open.errored).toMatchObject({ isVirtioError: true })
    expect(opened.driver.ports).toEqual([])
    await opened.driver.close()
    expect(opened.fn.dma.stats.quarantinedBytes).toBe(0)
  })

  it('a device that is gone', async () => {
    const opened = await bench({ profile: dying({ after: 0, from: 'used' }) }).catch((error: unknown) => error)
    expect(opened).toMatchObject({ code: 'device.gone' })
  })

  it('NEEDS_RESET, in the middle of a write', async () => {
    const opened = await bench({
      profile: hostile({ kind: 'needs-reset', queue: 1 }),
      options: { buffers: 1, bufferSize: 1 },
    })
    await expect(written(opened.port(), bytesOf('a longer write'))).rejects.toMatchObject({
      code: 'device.needs-reset',
    })
  })
})

describe('control messages that make no sense', () => {
  it.each<[HostileKind, number | undefined]>([
    ['control-short', undefined],
    ['control-short', 7],
    ['control-lost', undefined],
    ['control-event', undefined],
    ['control-event', 0],
    ['control-event', 3],
    ['control-port', undefined],
    ['control-port', 17],
  ])('%s %s is counted, and the next one is heard', async (kind, value) => {
    // Past what the device says at the beginning.
    const script = { kind, after: 4, ...(value !== undefined && { value }) } as HostileScript<HostileKind>
    const profile = hostile(script)
    const { model, driver, port } = await bench({ profile, model: { maxPorts: 4 } })
    model.port(0).connected = false
    await turns()
    expect(profile.done).toBe(1)
    expect(driver.stats()).toMatchObject({ control_invalid: 1 })
    expect(port(0).hostConnected).toBe(true)
    model.addPort({ id: 2, name: 'fine' })
    await turns()
    expect(port('fine').id).toBe(2)
  })

  it('a port that is added twice is one port', async () => {
    const { driver, model } = await bench({ profile: hostile({ kind: 'control-twice', value: 3 }) })
    await turns()
    expect(driver.ports.map(({ id }) => id)).toEqual([0])
    expect(model.port(0).ready).toBe(true)
    expect(driver.stats()).toMatchObject({ control_invalid: 2 })
  })

  it('a port with a number that cannot be is refused', async () => {
    const { driver } = await bench({ profile: hostile({ kind: 'control-port', value: 0xffffffff }) })
    expect(driver.ports).toEqual([])
    expect(driver.stats()).toMatchObject({ ports_refused: 1 })
  })

  it('a size without columns, and half a size, leave what is known', async () => {
    const { model, port } = await bench({ model: { size: { columns: 80, rows: 25 } } })
    model.resize(0, { columns: 0, rows: 25 })
    model.say(Uint8Array.of(0, 0, 0, 0, 5, 0, 0, 0, 120, 0, 40))
    await turns()
    expect(port().size).toEqual({ columns: 80, rows: 25 })
  })

  it('a name is cut to the buffer, and cannot move the cursor', async () => {
    const { port } = await bench({ profile: hostile({ kind: 'port-name' }), model: { ports: [{ name: 'x' }] } })
    const name = port(0).name ?? ''
    expect(name.length).toBeGreaterThan(500)
    expect(name.length).toBeLessThanOrEqual(1024)
    // biome-ignore lint: control characters are the point
    expect(/[\u0000-\u001f\u007f-\u009f]/.test(name)).toBe(false)
  })

  it('names end where QEMU ends them', async () => {
    const { port } = await bench({ model: { ports: [{ name: 'agent\0rest' }] } })
    expect(port('agent').id).toBe(0)
  })

  it('a flood of them leaves others their turn, and takes no memory', async () => {
    const { model, driver, fn } = await bench({ model: { maxPorts: 4 }, options: { watchdog: 0 } })
    const before = fn.dma.stats.allocatedBytes
    for (let round = 0; round < 2000; round++) {
      model.say(Uint8Array.of(1, 0, 0, 0, 1, 0, 0, 0))
      model.say(Uint8Array.of(1, 0, 0, 0, 2, 0, 0, 0))
      model.say(Uint8Array.of(round & 0xff, round >> 8, 1, 0, 1, 0, 0, 0))
    }
    for (let turn = 0; turn < 2000 && model.waitingMessages > 0; turn++) await turns(1)
    await turns()
    expect(model.waitingMessages).toBe(0)
    expect(driver.ports.map(({ id }) => id)).toEqual([0])
    expect(driver.stats()).toMatchObject({ ports_refused: 2000 })
    // One port's buffers, used again and again.
    expect(fn.dma.stats.allocatedBytes - before).toBe(2 * 8 * 4096)
  })
})

describe('a console that', () => {
  it('says it has four billion ports gets queues for 64 at most, or none', async () => {
    const small = await bench({ model: { maxPorts: 4, claimedPorts: 0xffffffff }, options: { maxPorts: 4 } })
    expect(small.driver.describe().queues).toHaveLength(10)
    await expect(bench({ model: { maxPorts: 4, claimedPorts: 0xffffffff } })).rejects.toMatchObject({
      code: 'queue.missing',
    })
  })

  it('says it has no ports gets queues for port 0', async () => {
    const { driver } = await bench({ model: { maxPorts: 1, claimedPorts: 0 } })
    expect(driver.ports).toHaveLength(1)
  })

  it('never takes a control message does not keep the driver from opening, or closing', async () => {
    const { driver } = await bench({
      profile: hostile({ kind: 'never-complete', queue: 3 }),
      options: { announceTimeout: 10 },
    })
    expect(driver.ports).toHaveLength(1)
  })

  it('is deaf does not keep the driver from opening', async () => {
    const { driver } = await bench({ profile: hostile({ kind: 'deaf' }), options: { announceTimeout: 10 } })
    expect(driver.ports).toEqual([])
  })

  it('loses its notifications is looked after all the same', async () => {
    const profile = hostile({ kind: 'interrupt-lost' })
    const { model, port } = await bench({ profile, options: { watchdog: 1, buffers: 1, bufferSize: 8 } })
    const sent = written(port(), new Uint8Array(100))
    const came: string[] = []
    port().on('data', (bytes: Uint8Array) => came.push(text(bytes)))
    model.port(0).send(bytesOf('twenty bytes or more'))
    await sent
    while (came.join('') !== 'twenty bytes or more') await new Promise((resolve) => setTimeout(resolve, 1))
  })

  it('storms is served once a turn', async () => {
    const { model, port } = await bench({ profile: hostile({ kind: 'interrupt-storm', queue: 0 }) })
    const came = new Promise((resolve) => port().once('data', (bytes: Uint8Array) => resolve(text(bytes))))
    await turns()
    model.port(0).send(bytesOf('through'))
    expect(await came).toBe('through')
  })

  it('uses buffers with nothing in them is not the end of the stream', async () => {
    const { model, port } = await bench({ profile: hostile({ kind: 'length-under', queue: 0, times: 3 }) })
    const came: string[] = []
    port().on('data', (bytes: Uint8Array) => came.push(text(bytes)))
    await turns()
    for (const word of ['lost', 'lost', 'lost', 'kept']) {
      model.port(0).send(bytesOf(word))
      await turns(5)
    }
    expect(came).toEqual(['kept'])
    expect(port().readableEnded).toBe(false)
  })

  it('does not confirm its reset has its memory set aside for good', async () => {
    const profile = hostile({ kind: 'reset-never', after: 1 })
    const { driver, fn } = await bench({ profile, attach: { resetTimeout: 20 } })
    await expect(driver.close()).rejects.toMatchObject({ code: 'device.reset-timeout' })
    expect(fn.dma.stats.quarantinedBytes).toBeGreaterThan(64 * 1024)
  })

  it('has no memory left for a port is told that it cannot be used', async () => {
    const { model, driver, fn } = await bench({ model: { maxPorts: 4 } })
    const taken = []
    for (let size = 1 << 24; size >= 4096; size /= 2) {
      try {
        for (;;) taken.push(fn.dma.allocate(size))
      } catch {
        // The next smaller size.
      }
    }
    model.addPort()
    await turns()
    expect(driver.stats()).toMatchObject({ ports: 1, ports_refused: 1 })
    for (const region of taken) fn.dma.free(region)
  })
})
