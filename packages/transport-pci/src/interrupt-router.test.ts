import type { Transport } from '@virtio-ts/core'
import { DeviceStatus } from '@virtio-ts/spec'
import { PciError } from '@virtio-ts/pci'
import { afterEach, describe, expect, it } from 'vitest'
import { FakeDevice, type FakeQuirks } from './fake-device.fixture.ts'
import { FakeFunction, type FakeFunctionOptions } from './fake-function.fixture.ts'
import { VirtioPciDriver } from './virtio-pci-driver.ts'

const ALL_OK = DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER | DeviceStatus.FEATURES_OK | DeviceStatus.DRIVER_OK
const ISR = 'read8 bar4+0x1000'

const attached: Transport[] = []
afterEach(async () => {
  for (const transport of attached.splice(0)) await transport.close()
})

interface Setup {
  readonly fn: FakeFunction
  readonly device: FakeDevice
  readonly transport: Transport
  readonly calls: string[]
}

/** A reset device with listeners on three queues and configuration, which write down that they were called. */
async function setUp(options: FakeFunctionOptions = {}, quirks: FakeQuirks = {}): Promise<Setup> {
  const device = new FakeDevice(quirks)
  const fn = new FakeFunction({ ...options, device })
  const transport = await VirtioPciDriver.attach(fn)
  attached.push(transport)
  await transport.reset()
  const calls: string[] = []
  for (let index = 0; index < 3; index++) transport.onUsed(index, () => calls.push(`queue ${index}`))
  transport.onConfigChange(() => calls.push('config'))
  fn.log.length = 0
  return { fn, device, transport, calls }
}

async function run({ fn, transport }: Setup, wanted: 'auto' | 'msix' | 'intx' | 'none' = 'auto') {
  const result = await transport.setUpInterrupts(3, wanted)
  for (let index = 0; index < 3; index++) {
    const region = fn.dma.allocate(16384, 4096)
    const at = (offset: number) => (region.deviceAddress + offset) as typeof region.deviceAddress
    await transport.enableQueue(index, index === 2 ? 64 : 256, {
      descriptorArea: at(0),
      driverArea: at(4096),
      deviceArea: at(8192),
    })
  }
  await transport.setStatus(ALL_OK)
  return result
}

describe('MSI-X', () => {
  it('gives each queue a vector of its own, and configuration the first', async () => {
    const setup = await setUp()
    const { fn, device, calls } = setup
    expect(await run(setup)).toEqual({ mode: 'msix', vectors: 4 })
    expect(device.configVector).toBe(0)
    expect(device.queues.map(({ vector }) => vector)).toEqual([1, 2, 3])
    fn.vectors[2]?.fire()
    fn.vectors[0]?.fire()
    fn.vectors[3]?.fire()
    expect(calls).toEqual(['queue 1', 'config', 'queue 2'])
    expect(fn.log).not.toContain(ISR)
  })

  it('switches MSI-X on before it binds any vector', async () => {
    const setup = await setUp()
    await run(setup)
    const enabled = setup.fn.log.findIndex((entry) => entry.startsWith('enableMsix'))
    const bound = setup.fn.log.findIndex(
      (entry) => entry.startsWith('write16 bar4+0x10 ') || entry.startsWith('write16 bar4+0x1a '),
    )
    expect(enabled).toBeGreaterThanOrEqual(0)
    expect(bound).toBeGreaterThan(enabled)
  })

  it.each([
    [3, { mode: 'msix', vectors: 3 }, [1, 2, 1], ['queue 0', 'queue 2']],
    [2, { mode: 'msix', vectors: 2 }, [1, 1, 1], ['queue 0', 'queue 1', 'queue 2']],
  ] as const)('C15 shares %i vectors', async (vectors, result, bound, calls) => {
    const setup = await setUp({ msix: vectors })
    expect(await run(setup)).toEqual(result)
    expect(setup.device.queues.map(({ vector }) => vector)).toEqual(bound)
    setup.fn.vectors[1]?.fire()
    expect(setup.calls).toEqual(calls)
    setup.fn.vectors[0]?.fire()
    expect(setup.calls.at(-1)).toBe('config')
  })

  it('C15 puts everything on a single vector', async () => {
    const setup = await setUp({ msix: 1 })
    expect(await run(setup)).toEqual({ mode: 'msix', vectors: 1 })
    setup.fn.vectors[0]?.fire()
    expect(setup.calls).toEqual(['queue 0', 'queue 1', 'queue 2', 'config'])
  })

  it('C15 uses no more vectors than the bus delivers', async () => {
    const setup = await setUp({ msix: 64, deliverable: 2 })
    expect(await run(setup)).toEqual({ mode: 'msix', vectors: 2 })
  })

  it.each([
    [
      'a queue its own vector',
      (queue: number, vector: number) => queue < 0 || vector < 2,
      { mode: 'msix', vectors: 2 },
      [1, 1, 1],
    ],
    ['queues any but the first', (_: number, vector: number) => vector === 0, { mode: 'msix', vectors: 1 }, [0, 0, 0]],
  ] as const)('§ 4.1.5.1.2.2 C15 falls back when the device refuses %s', async (_, takesVector, result, bound) => {
    const setup = await setUp({}, { takesVector })
    expect(await run(setup)).toEqual(result)
    expect(setup.device.queues.map(({ vector }) => vector)).toEqual(bound)
  })

  it.each([
    ['every vector', () => false],
    ['the configuration vector', (queue: number) => queue >= 0],
    ['every queue vector', (queue: number) => queue < 0],
  ])('C15 falls back to INTx when the device refuses %s', async (_, takesVector) => {
    const setup = await setUp({}, { takesVector })
    expect(await run(setup)).toEqual({ mode: 'intx', vectors: 0 })
    expect(setup.fn.msixEnabled).toBe(false)
    expect(setup.fn.vectors.every(({ listener }) => listener === undefined)).toBe(true)
  })

  it('C15 falls back to polling where there is no INTx line either', async () => {
    const setup = await setUp({ intx: false }, { takesVector: () => false })
    expect(await run(setup)).toEqual({ mode: 'none', vectors: 0 })
  })

  it('C15 moves a queue to the shared vector when it is refused later', async () => {
    let later = false
    const setup = await setUp({}, { takesVector: (queue, vector) => !later || queue !== 1 || vector === 0 })
    await setup.transport.setUpInterrupts(3, 'auto')
    await run0(setup, 1)
    later = true
    const queue = setup.device.queues[1]
    if (queue) queue.enable = 0
    await run0(setup, 1)
    await setup.transport.setStatus(ALL_OK)
    expect(queue?.vector).toBe(0)
    setup.fn.vectors[0]?.fire()
    expect(setup.calls.splice(0)).toEqual(['queue 1', 'config'])
    setup.fn.vectors[2]?.fire()
    expect(setup.calls).toEqual([])
  })

  it('C15 refuses to enable a queue for which no vector is left', async () => {
    let later = false
    const setup = await setUp({}, { takesVector: () => !later })
    await setup.transport.setUpInterrupts(3, 'auto')
    later = true
    await expect(run0(setup, 1)).rejects.toMatchObject({ code: 'transport.vector-refused', details: { queue: 1 } })
    expect(setup.device.queues[1]?.enable).toBe(0)
  })

  it('binds queues beyond the number that was announced', async () => {
    const setup = await setUp()
    expect(await setup.transport.setUpInterrupts(2, 'auto')).toEqual({ mode: 'msix', vectors: 3 })
    await run0(setup, 2)
    await setup.transport.setStatus(ALL_OK)
    expect(setup.device.queues[2]?.vector).toBe(1)
    setup.fn.vectors[1]?.fire()
    expect(setup.calls).toEqual(['queue 2'])
  })

  it('lets other failures of the bus through', async () => {
    const { fn, transport } = await setUp()
    fn.enableMsix = () => {
      throw new PciError('pci.access', 'EMFILE')
    }
    await expect(transport.setUpInterrupts(3, 'auto')).rejects.toMatchObject({ code: 'pci.access' })
  })
})

async function run0({ fn, transport }: Setup, index: number): Promise<void> {
  const region = fn.dma.allocate(16384, 4096)
  const at = (offset: number) => (region.deviceAddress + offset) as typeof region.deviceAddress
  await transport.enableQueue(index, 64, { descriptorArea: at(0), driverArea: at(4096), deviceArea: at(8192) })
}

describe('INTx', () => {
  it('reads the ISR once an interrupt, and tells queues and configuration by it', async () => {
    const setup = await setUp({ msix: 0 })
    const { fn, device, calls } = setup
    expect(await run(setup)).toEqual({ mode: 'intx', vectors: 0 })
    fn.log.length = 0
    device.isr = 1
    fn.line.fire()
    expect(calls.splice(0)).toEqual(['queue 0', 'queue 1', 'queue 2'])
    device.isr = 2
    fn.line.fire()
    expect(calls.splice(0)).toEqual(['config'])
    expect(fn.log).toEqual([ISR, ISR])
  })

  it('§ 4.1.5.4.2 one interrupt may mean both: 3, as QEMU and VirtualBox have it', async () => {
    const setup = await setUp({ msix: 0 })
    await run(setup)
    setup.device.isr = 3
    setup.fn.line.fire()
    expect(setup.calls).toEqual(['queue 0', 'queue 1', 'queue 2', 'config'])
  })

  it('is not ours when the ISR is 0: the line may be shared', async () => {
    const setup = await setUp({ msix: 0 })
    await run(setup)
    setup.fn.line.fire()
    expect(setup.calls).toEqual([])
  })

  it('lowers the line even before DRIVER_OK', async () => {
    const setup = await setUp({ msix: 0 })
    await setup.transport.setUpInterrupts(3, 'auto')
    setup.device.isr = 1
    setup.fn.line.fire()
    expect(setup.device.isr).toBe(0)
    expect(setup.calls).toEqual([])
  })

  it('is used when asked for, although there is MSI-X', async () => {
    const setup = await setUp()
    expect(await run(setup, 'intx')).toEqual({ mode: 'intx', vectors: 0 })
    expect(setup.fn.log.some((entry) => entry.startsWith('enableMsix'))).toBe(false)
    expect(setup.device.queues.map(({ vector }) => vector)).toEqual([0xffff, 0xffff, 0xffff])
  })

  it('C6 does not throw when the ISR cannot be read', async () => {
    const setup = await setUp({ msix: 0 })
    await run(setup)
    const reasons: Error[] = []
    setup.transport.onGone((reason) => reasons.push(reason))
    setup.fn.failure = new PciError('pci.gone', 'gone')
    setup.fn.line.fire()
    await new Promise((resolve) => setImmediate(resolve))
    expect(reasons).toMatchObject([{ code: 'device.gone' }])
    expect(setup.calls).toEqual([])
  })
})

describe('when interrupts count', () => {
  it('is from DRIVER_OK to the next reset', async () => {
    const setup = await setUp()
    const { fn, transport, calls } = setup
    await transport.setUpInterrupts(3, 'auto')
    await run0(setup, 0)
    fn.vectors[1]?.fire()
    expect(calls).toEqual([])
    await transport.setStatus(ALL_OK)
    fn.vectors[1]?.fire()
    expect(calls.splice(0)).toEqual(['queue 0'])
    await transport.reset()
    fn.vectors[1]?.fire()
    expect(calls).toEqual([])
  })

  it('is not after FAILED', async () => {
    const setup = await setUp()
    await run(setup)
    await setup.transport.setStatus(ALL_OK | DeviceStatus.FAILED)
    setup.fn.vectors[1]?.fire()
    expect(setup.calls).toEqual([])
  })

  it('a configuration change before DRIVER_OK is told at DRIVER_OK, once', async () => {
    const setup = await setUp()
    await setup.transport.setUpInterrupts(3, 'auto')
    setup.fn.vectors[0]?.fire()
    expect(setup.calls).toEqual([])
    await setup.transport.setStatus(ALL_OK)
    expect(setup.calls).toEqual(['config'])
    await setup.transport.setStatus(ALL_OK)
    expect(setup.calls).toEqual(['config'])
  })

  it('a configuration change before a reset is forgotten', async () => {
    const setup = await setUp()
    await setup.transport.setUpInterrupts(3, 'auto')
    setup.fn.vectors[0]?.fire()
    await setup.transport.reset()
    await setup.transport.setStatus(ALL_OK)
    expect(setup.calls).toEqual([])
  })

  it('never with none', async () => {
    const setup = await setUp()
    expect(await run(setup, 'none')).toEqual({ mode: 'none', vectors: 0 })
    expect(setup.fn.line.listener).toBeUndefined()
  })

  it('a later listener takes the place of an earlier one', async () => {
    const setup = await setUp()
    setup.transport.onUsed(0, () => setup.calls.push('new'))
    await run(setup)
    setup.fn.vectors[1]?.fire()
    expect(setup.calls).toEqual(['new'])
  })
})

describe('letting interrupts go', () => {
  it('stops watching, then switches MSI-X off', async () => {
    const setup = await setUp()
    await run(setup)
    const { fn } = setup
    fn.log.length = 0
    await setup.transport.close()
    expect(fn.vectors.map(({ listener }) => listener)).toEqual([undefined, undefined, undefined, undefined])
    expect(fn.log.slice(-2)).toEqual(['disableMsix', 'busMaster off'])
    expect(fn.msixEnabled).toBe(false)
    fn.vectors[1]?.fire()
    expect(setup.calls).toEqual([])
  })

  it('leaves the INTx line alone', async () => {
    const setup = await setUp({ msix: 0 })
    await run(setup)
    await setup.transport.close()
    expect(setup.fn.line.listener).toBeUndefined()
  })

  it('happens when the function goes away', async () => {
    const setup = await setUp()
    await run(setup)
    setup.fn.unplug()
    expect(setup.fn.vectors.every(({ listener }) => listener === undefined)).toBe(true)
  })

  it('happens before a second set-up', async () => {
    const setup = await setUp()
    await run(setup)
    const old = [...setup.fn.vectors]
    await setup.transport.reset()
    expect(await setup.transport.setUpInterrupts(1, 'auto')).toEqual({ mode: 'msix', vectors: 2 })
    expect(old.every(({ listener }) => listener === undefined)).toBe(true)
  })
})
