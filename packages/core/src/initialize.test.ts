import { DeviceStatus, featureSet, ReservedFeature } from '@virtio-ts/spec'
import { PackedVirtqueue, SplitVirtqueue } from '@virtio-ts/virtqueue'
import { describe, expect, it } from 'vitest'
import type { DriverSpec } from './driver-spec.ts'
import { initialize } from './initialize.ts'
import { type Script, ScriptedTransport } from './testing/scripted-transport.ts'
import type { InitializeOptions, VirtioDevice } from './virtio-device.ts'

const A = 0
const NEEDS_A = 1
const UNRELATED = 5

type Feature = 'A' | 'NEEDS_A'
type Queue = 'requestq' | 'eventq'

const spec: DriverSpec<Feature, Queue> = {
  name: 'test',
  deviceType: 4,
  features: { A, NEEDS_A },
  dependencies: [{ feature: 'NEEDS_A', anyOf: ['A'] }],
  queues: ['requestq'],
}

const version1 = featureSet(ReservedFeature.VERSION_1)

async function open(
  script: Script = {},
  options: InitializeOptions = {},
  driver: DriverSpec<Feature, Queue> = spec,
): Promise<{ transport: ScriptedTransport; device: VirtioDevice<Feature, Queue> }> {
  const transport = new ScriptedTransport(script)
  return { transport, device: await initialize(transport, driver, options) }
}

async function failure(
  script: Script,
  options: InitializeOptions = {},
  driver = spec,
): Promise<{ transport: ScriptedTransport; code: string; message: string }> {
  const transport = new ScriptedTransport(script)
  const error = await initialize(transport, driver, options).then(
    () => undefined,
    (reason: unknown) => reason as Error & { code?: string },
  )
  expect(error).toBeDefined()
  return { transport, code: error?.code ?? '', message: error?.message ?? '' }
}

describe('initialize', () => {
  it('§ 3.1.1 takes the steps in order and keeps every status bit it has set', async () => {
    const { transport } = await open({ offers: version1 | featureSet(A) })
    expect(transport.calls).toEqual([
      'reset',
      'setStatus 1',
      'setStatus 3',
      'deviceFeatures',
      `acceptFeatures ${version1 | featureSet(A)}`,
      'setStatus 11',
      'status',
      'setUpInterrupts 1 auto',
      'queueSizeMax 0',
      'enableQueue 0 8',
      'setStatus 15',
    ])
  })

  it('§ 3.1.2 leaves FEATURES_OK out on the legacy interface', async () => {
    const { transport, device } = await open({ legacy: true, offers: featureSet(A) })
    expect(transport.calls.filter((call) => call.startsWith('setStatus'))).toEqual([
      'setStatus 1',
      'setStatus 3',
      'setStatus 7',
    ])
    expect(device.legacy).toBe(true)
  })

  it('§ 3.1.1 prepares the device last before DRIVER_OK, and gives up where that fails', async () => {
    const order: string[] = []
    const prepare = async (): Promise<void> => void order.push(transport.calls.at(-1) ?? '')
    const transport = new ScriptedTransport({})
    await initialize(transport, { ...spec, prepare })
    expect(order).toEqual(['enableQueue 0 8'])
    expect(transport.calls.at(-1)).toBe('setStatus 15')
    const { transport: failed, message } = await failure(
      {},
      {},
      {
        ...spec,
        prepare: () => Promise.reject(new Error('not today')),
      },
    )
    expect(message).toBe('not today')
    expect(failed.calls.filter((call) => call.startsWith('setStatus')).at(-1)).toBe('setStatus 139')
  })

  it('tells queues what was offered, accepted or not', async () => {
    const offered: bigint[] = []
    const offers = version1 | featureSet(A, UNRELATED)
    await open(
      { offers },
      { withoutFeatures: ['A'] },
      {
        ...spec,
        queues: async (features) => {
          offered.push(features.offered)
          return [{ name: 'requestq', index: 0 }]
        },
      },
    )
    expect(offered).toEqual([offers])
  })

  it('hands out no queue before DRIVER_OK and none the driver did not name', async () => {
    const { device } = await open()
    expect(device.queue('requestq').size).toBe(8)
    expect(device.hasQueue('eventq')).toBe(false)
    expect(() => device.queue('eventq')).toThrow(RangeError)
  })

  it('accepts only what is offered, known and not masked, closed over the dependencies', async () => {
    const offers = version1 | featureSet(A, NEEDS_A, UNRELATED)
    expect((await open({ offers })).transport.accepted).toBe(version1 | featureSet(A, NEEDS_A))
    expect((await open({ offers }, { withoutFeatures: ['A'] })).transport.accepted).toBe(version1)
    expect((await open({ offers: version1 | featureSet(NEEDS_A) })).transport.accepted).toBe(version1)
  })

  it('names what was negotiated', async () => {
    const { device } = await open({ offers: version1 | featureSet(A, ReservedFeature.EVENT_IDX) })
    expect(device.features.names).toEqual(['A', 'EVENT_IDX', 'VERSION_1'])
    expect(device.features.has('A')).toBe(true)
    expect(device.features.has('NEEDS_A')).toBe(false)
  })

  it('drops what validate rejects, and what needed it, before FEATURES_OK', async () => {
    const driver: typeof spec = { ...spec, validate: async (_, config) => ((await config.read8(0)) === 7 ? ['A'] : []) }
    const { transport } = await open(
      { offers: version1 | featureSet(A, NEEDS_A), config: Uint8Array.of(7) },
      {},
      driver,
    )
    expect(transport.accepted).toBe(version1)
    expect(transport.calls.indexOf('setStatus 11')).toBeGreaterThan(
      transport.calls.lastIndexOf(`acceptFeatures ${version1}`),
    )
  })

  it('C7: FEATURES_OK that does not stand leaves FAILED and lists the features', async () => {
    const { transport, code, message } = await failure({ refusesFeatures: true, offers: version1 | featureSet(A) })
    expect(code).toBe('features.refused')
    expect(message).toContain('A VERSION_1')
    expect(transport.statusByte & DeviceStatus.FAILED).toBe(DeviceStatus.FAILED)
    expect(transport.closed).toBe(1)
  })

  it('§ 6.1 refuses a modern device without VERSION_1', async () => {
    expect((await failure({ offers: featureSet(A) })).code).toBe('features.version-1')
  })

  it('says which required feature is missing', async () => {
    const { code, message } = await failure({}, {}, { ...spec, required: ['A'] })
    expect(code).toBe('features.required-missing')
    expect(message).toContain('cannot work without A')
  })

  it('refuses to mask a feature nobody knows', async () => {
    expect((await failure({}, { withoutFeatures: ['A_TYPO'] })).code).toBe('features.unknown-name')
  })

  it('refuses a device of another type', async () => {
    expect((await failure({ deviceType: 1 })).code).toBe('device.wrong-type')
  })

  it.each([
    ['C4: absent', { queueSizes: [0] }, 'queue.missing'],
    ['C4: beyond the specification', { queueSizes: [65535] }, 'queue.size-invalid'],
    [
      'C4: no power of two that cannot be changed',
      { queueSizes: [48], queueSizeWritable: false },
      'queue.size-invalid',
    ],
  ] as const)('a queue that is %s is refused', async (_, script, code) => {
    expect((await failure(script)).code).toBe(code)
  })

  it.each([
    ['device says 48', { queueSizes: [48] }, {}, 32],
    ['owner asks for less', { queueSizes: [256] }, { queueSize: 16 }, 16],
    ['owner asks for more', { queueSizes: [8] }, { queueSize: 1024 }, 8],
    ['the device dictates', { queueSizes: [256], queueSizeWritable: false }, { queueSize: 16 }, 256],
  ] as const)('sizes a queue: %s', async (_, script, options, size) => {
    expect((await open(script, options)).device.queue('requestq').size).toBe(size)
  })

  it.each([
    ['offered, and the device says 48', {}, PackedVirtqueue, 48],
    ['offered, and the owner asks for less', { queueSize: 16 }, PackedVirtqueue, 16],
    ['offered and masked', { withoutFeatures: ['RING_PACKED'] }, SplitVirtqueue, 32],
  ] as const)('§ 2.8 makes packed queues where RING_PACKED is %s', async (_, options, kind, size) => {
    const offers = version1 | featureSet(ReservedFeature.RING_PACKED)
    const { device, transport } = await open({ offers, queueSizes: [48] }, options)
    expect(device.queue('requestq')).toBeInstanceOf(kind)
    expect(device.features.has('RING_PACKED')).toBe(kind === PackedVirtqueue)
    expect(transport.calls).toContain(`enableQueue 0 ${size}`)
  })

  it('takes no packed queues from the legacy interface, which has no such bit', async () => {
    const offers = featureSet(ReservedFeature.RING_PACKED)
    const { device, transport } = await open({ legacy: true, offers })
    expect([device.queue('requestq').constructor, transport.accepted]).toEqual([SplitVirtqueue, 0n])
  })

  it('rejects a queue size that is no power of two before it touches the device', async () => {
    const { transport } = await failure({}, { queueSize: 48 })
    expect(transport.calls).not.toContain('reset')
  })

  it.each(['reset', 'deviceFeatures', 'acceptFeatures', 'setUpInterrupts', 'queueSizeMax', 'enableQueue'] as const)(
    'a failure in %s frees every region, closes the transport and passes the error on',
    async (failsAt) => {
      const { transport, message } = await failure({ failsAt })
      expect(message).toBe(`${failsAt} failed as scripted`)
      expect(transport.dma.stats.allocatedRegions).toBe(0)
      expect(transport.closed).toBe(1)
    },
  )

  it('a queue that fails after another was enabled: reset first, then memory, then FAILED', async () => {
    const { transport } = await failure({ queueSizes: [8, 0] }, {}, { ...spec, queues: ['requestq', 'eventq'] })
    const { calls } = transport
    expect(calls.lastIndexOf('reset')).toBeGreaterThan(calls.indexOf('enableQueue 0 8'))
    expect(calls.at(-2)).toBe(`setStatus ${11 | DeviceStatus.FAILED}`)
    expect(transport.dma.freed).toBe(transport.dma.allocated)
  })

  it('counts generations by location', async () => {
    const transport = new ScriptedTransport()
    expect((await initialize(transport, spec)).generation).toBe(1)
    expect((await initialize(transport, spec)).generation).toBe(2)
  })
})
