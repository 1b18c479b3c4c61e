import { DeviceStatus, featureSet, isVirtioError, ReservedFeature, SplitRing, VirtioError } from '@virtio-ts/spec'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { DriverSpec } from './driver-spec.ts'
import { initialize } from './initialize.ts'
import { type Script, ScriptedTransport } from './testing/scripted-transport.ts'
import type { InitializeOptions, VirtioDevice } from './virtio-device.ts'

const spec: DriverSpec<never, 'requestq'> = { name: 'test', deviceType: 4, features: {}, queues: ['requestq'] }

async function open(
  script: Script = {},
  options: InitializeOptions = {},
): Promise<{ transport: ScriptedTransport; device: VirtioDevice<never, 'requestq'>; faults: VirtioError[] }> {
  const transport = new ScriptedTransport(script)
  const device = await initialize(transport, spec, options)
  const faults: VirtioError[] = []
  device.onFault((reason) => faults.push(reason))
  return { transport, device, faults }
}

describe('an initialised device', () => {
  it('§ 3.3.1 resets before it frees, and frees everything', async () => {
    const { transport, device } = await open()
    device.allocate(100)
    await device.close()
    expect(transport.calls.slice(-2)).toEqual(['reset', 'close'])
    expect(transport.dma.freed).toBe(transport.dma.allocated)
    expect(() => device.allocate(1)).toThrow('closed')
  })

  it('C16: memory of a device whose reset is never confirmed is set aside, none of it freed', async () => {
    const { transport, device } = await open({ resetNeverConfirmed: true })
    device.allocate(100)
    await expect(device.close()).rejects.toMatchObject({ code: 'device.reset-timeout' })
    expect(transport.dma.freed).toBe(0)
    expect(transport.dma.quarantined).toBe(transport.dma.allocated)
    expect(transport.closed).toBe(1)
  })

  it('a device that is gone when it is closed cannot write any more: its memory is freed, and close is content', async () => {
    const { transport, device } = await open({ goneAtReset: true })
    device.allocate(100)
    await device.close()
    expect(transport.dma.freed).toBe(transport.dma.allocated)
    expect(transport.dma.quarantined).toBe(0)
  })

  it('L9: closes once, whoever calls and how often', async () => {
    const { transport, device } = await open()
    await Promise.all([device.close(), device.close(), device[Symbol.asyncDispose]()])
    expect(transport.calls.filter((call) => call === 'reset')).toHaveLength(2)
    expect(transport.closed).toBe(1)
  })

  it('C18: NEEDS_RESET after a configuration change is a fault, told once, and breaks the queues', async () => {
    const { transport, device, faults } = await open()
    transport.statusByte |= DeviceStatus.DEVICE_NEEDS_RESET
    transport.configListener()
    transport.configListener()
    await turn()
    expect(faults.map(({ code }) => code)).toEqual(['device.needs-reset'])
    expect(device.queue('requestq').broken?.code).toBe('device.needs-reset')
  })

  it('the first fault stands, whatever comes after it', async () => {
    const { transport, device, faults } = await open()
    transport.statusByte |= DeviceStatus.DEVICE_NEEDS_RESET
    transport.configListener()
    await turn()
    transport.goneListener(new Error('and then unplugged'))
    expect(device.fault?.code).toBe('device.needs-reset')
    expect(faults).toHaveLength(1)
  })

  it('§ 2.7.7.1 polled: asks the device from the start not to send used buffer notifications', async () => {
    const flags = async (interrupts: 'none' | 'auto'): Promise<number> => {
      const { transport, device } = await open({}, { interrupts })
      const { driverArea } = device.queue('requestq').addresses
      const ring = transport.dma.regions[0]
      const offset = driverArea - (ring?.deviceAddress ?? 0)
      return new DataView(ring?.bytes.buffer as ArrayBuffer, ring?.bytes.byteOffset).getUint16(offset, true)
    }
    expect(await flags('none')).toBe(SplitRing.AVAIL_F_NO_INTERRUPT)
    expect(await flags('auto')).toBe(0)
  })

  it('polled: looks after pending requests each turn, and no longer once the queue is broken', async () => {
    const { transport, device } = await open({}, { interrupts: 'none' })
    const requests = device.requestQueue('requestq')
    const outcome = requests.request({ writable: [device.allocate(16)] }).catch((reason: unknown) => reason)
    let looks = 0
    const service = requests.service.bind(requests)
    requests.service = () => {
      looks++
      return service()
    }
    for (let i = 0; i < 5; i++) await turn()
    expect(looks).toBeGreaterThan(2)
    transport.goneListener(new Error('unplugged'))
    await outcome
    await turn()
    const before = looks
    for (let i = 0; i < 5; i++) await turn()
    expect(looks).toBe(before)
  })

  it('§ 2.7.7.1 a buffer used between the last look and asking for the next notification is looked for again', async () => {
    const { transport, device } = await open()
    const requests = device.requestQueue('requestq')
    const queue = device.queue('requestq')
    const answers = [true, true, false]
    let looks = 0
    queue.enableUsedNotifications = () => answers.shift() ?? false
    requests.service = () => {
      looks++
      return 0
    }
    transport.usedListeners.get(0)?.()
    expect(looks).toBe(3)
  })

  it('passes other configuration changes on', async () => {
    const { transport, device } = await open()
    let changes = 0
    device.onConfigChange(() => changes++)
    transport.configListener()
    await turn()
    expect(changes).toBe(1)
  })

  it('a device that goes away is a fault for those who listen then and later', async () => {
    const { transport, device, faults } = await open()
    transport.goneListener(new Error('unplugged'))
    const late: VirtioError[] = []
    device.onFault((reason) => late.push(reason))
    expect(faults.map(({ code }) => code)).toEqual(['device.gone'])
    expect(late).toEqual(faults)
    expect(faults[0]?.message).toContain('unplugged')
  })

  it('a request in flight at close rejects with a coded error', async () => {
    const { device } = await open()
    const request = device.requestQueue('requestq').request({ writable: [device.allocate(16)] })
    const outcome = request.catch((reason: unknown) => reason)
    await device.close()
    const reason = await outcome
    expect(isVirtioError(reason) && reason.code).toBe('device.closed')
  })

  it('§ 2.6.1 resets one queue: its requests reject, its memory stays, it is enabled again', async () => {
    const { transport, device } = await open({
      offers: featureSet(ReservedFeature.VERSION_1, ReservedFeature.RING_RESET),
    })
    const outcome = device
      .requestQueue('requestq')
      .request({ writable: [device.allocate(16)] })
      .catch((reason: unknown) => reason)
    await turn()
    expect([...(await device.resetQueue('requestq'))]).toHaveLength(1)
    expect(await outcome).toMatchObject({ code: 'queue.reset' })
    expect(transport.calls.slice(-2)).toEqual(['resetQueue 0', 'enableQueue 0 8'])
    expect(device.queue('requestq').inFlight).toBe(0)
    expect(transport.dma.freed).toBe(0)
  })

  describe('§ 2.6.1 with another size', () => {
    const offers = featureSet(ReservedFeature.VERSION_1, ReservedFeature.RING_RESET)

    it('has new memory, frees the old once the device has confirmed, and tells who asked', async () => {
      const { transport, device, faults } = await open({ offers, queueSizes: [16] }, { queueSize: 8 })
      const old = device.queue('requestq')
      const told: unknown[] = []
      device.onQueueResized((name, queue) => told.push([name, queue.size, queue === device.queue('requestq')]))
      old.addReadable(1 as never, 1, 41)
      old.publish()
      old.addReadable(1 as never, 1, 42)
      const freedAtReset = new Promise<number>((resolve) => {
        transport.resetQueue = async () => resolve(transport.dma.freed)
      })
      expect([...(await device.resetQueue('requestq', { size: 16 }))].toSorted((a, b) => a - b)).toEqual([41, 42])
      expect([await freedAtReset, transport.dma.freed]).toEqual([0, 1])
      expect(told).toEqual([['requestq', 16, true]])
      const queue = device.queue('requestq')
      expect([queue.size, queue.free, queue.maxChain, old.broken?.code]).toEqual([16, 16, 16, 'ring.released'])
      expect([old.addReadable(1 as never, 1, 0), faults]).toEqual([false, []])
      expect(transport.calls.at(-1)).toBe('enableQueue 0 16')
      expect(device.describe().queues).toMatchObject([{ name: 'requestq', size: 16 }])
      await device.close()
      expect(transport.dma.freed).toBe(transport.dma.allocated)
    })

    it('keeps its request view, with room for as many as the new ring', async () => {
      const { transport, device } = await open({ offers, queueSizes: [16] }, { queueSize: 2, interrupts: 'none' })
      const requests = device.requestQueue('requestq')
      const region = device.allocate(16)
      const send = (): Promise<unknown> => requests.request({ writable: [region] }).catch((error: unknown) => error)
      const before = [send(), send(), send()]
      await turn()
      await device.resetQueue('requestq', { size: 4 })
      for (const outcome of await Promise.all(before)) expect(outcome).toMatchObject({ code: 'queue.reset' })
      const after = Array.from({ length: 5 }, send)
      await turn()
      expect([device.queue('requestq').inFlight, requests.pending]).toEqual([4, 5])
      expect(transport.calls.at(-1)).toBe('notify 0')
      // The new queue's end is its requests' end, and the device's.
      device.queue('requestq').fail(new VirtioError('ring.length', 'lied'))
      for (const outcome of await Promise.all(after)) expect(outcome).toMatchObject({ code: 'ring.length' })
      expect(device.fault).toMatchObject({ code: 'ring.length' })
      await device.close()
    })

    it('notifies of requests that came while the queue was out of use', async () => {
      const { transport, device } = await open({ offers })
      const requests = device.requestQueue('requestq')
      const region = device.allocate(16)
      const enable = transport.enableQueue.bind(transport)
      transport.enableQueue = async (...args) => {
        void requests.request({ writable: [region] }).catch(() => {})
        await turn()
        transport.calls.length = 0
        await enable(...args)
      }
      await device.resetQueue('requestq', { size: 4 })
      expect(transport.calls).toEqual(['enableQueue 0 4', 'notify 0'])
      await device.close()
    })

    it.each([0, -1, 3, 1.5, 16, 65536])(
      'refuses %d entries where the device allows 8, and leaves all as it was',
      async (size) => {
        const { transport, device } = await open({ offers })
        const queue = device.queue('requestq')
        const calls = transport.calls.length
        await expect(device.resetQueue('requestq', { size })).rejects.toMatchObject({ code: 'queue.size-invalid' })
        expect([transport.calls.length, device.queue('requestq') === queue, queue.free]).toEqual([calls, true, 8])
        await device.close()
      },
    )

    it('a packed queue can have any size', async () => {
      const packed = offers | featureSet(ReservedFeature.RING_PACKED)
      const { device } = await open({ offers: packed })
      await device.resetQueue('requestq', { size: 3 })
      expect(device.queue('requestq').free).toBe(3)
      await device.close()
    })

    it('gives the new memory back when the device does not confirm, or was closed meanwhile', async () => {
      const stuck = await open({ offers, failsAt: 'resetQueue' })
      await expect(stuck.device.resetQueue('requestq', { size: 4 })).rejects.toThrow('as scripted')
      expect([stuck.transport.dma.allocated, stuck.transport.dma.freed]).toEqual([2, 1])
      expect(stuck.device.queue('requestq').size).toBe(8)
      await stuck.device.close()
      expect(stuck.transport.dma.freed).toBe(2)

      const closed = await open({ offers })
      let confirm: () => void = () => {}
      closed.transport.resetQueue = () => new Promise((resolve) => (confirm = resolve))
      const reset = closed.device.resetQueue('requestq', { size: 4 })
      await turn()
      await closed.device.close()
      confirm()
      await expect(reset).rejects.toMatchObject({ code: 'device.closed' })
      expect([closed.transport.dma.allocated, closed.transport.dma.freed]).toEqual([2, 2])
    })

    it('memory that does not suffice leaves all as it was', async () => {
      const { transport, device } = await open({ offers })
      transport.dma.allocate = () => {
        throw new Error('exhausted')
      }
      await expect(device.resetQueue('requestq', { size: 4 })).rejects.toThrow('exhausted')
      expect(transport.calls).not.toContain('resetQueue 0')
      expect(device.queue('requestq').free).toBe(8)
      await device.close()
    })

    it('resets that overlap take turns', async () => {
      const { transport, device } = await open({ offers })
      const sizes = [4, 2, 4].map((size) => device.resetQueue('requestq', { size }))
      const refused = device.resetQueue('requestq', { size: 5 })
      await expect(refused).rejects.toMatchObject({ code: 'queue.size-invalid' })
      await Promise.all(sizes)
      expect(transport.calls.slice(-6)).toEqual([
        'resetQueue 0',
        'enableQueue 0 4',
        'resetQueue 0',
        'enableQueue 0 2',
        'resetQueue 0',
        'enableQueue 0 4',
      ])
      expect(transport.dma.allocated - transport.dma.freed).toBe(1)
      await device.close()
    })

    it('a queue that cannot be put back is a fault', async () => {
      const { transport, device, faults } = await open({ offers })
      transport.enableQueue = () => Promise.reject(new VirtioError('queue.size-invalid', 'no'))
      await expect(device.resetQueue('requestq', { size: 4 })).rejects.toMatchObject({ code: 'queue.size-invalid' })
      expect(faults).toMatchObject([{ code: 'queue.size-invalid' }])
      await device.close()
      expect(transport.dma.freed).toBe(transport.dma.allocated)
    })
  })

  it('refuses to reset a queue without RING_RESET', async () => {
    const { device } = await open()
    await expect(device.resetQueue('requestq')).rejects.toMatchObject({ code: 'queue.reset-unavailable' })
  })

  it('buffers of an aborted request are released by close, not before', async () => {
    const { device } = await open()
    const released: string[] = []
    const abort = new AbortController()
    const request = device
      .requestQueue('requestq')
      .request(
        { writable: [device.allocate(16)] },
        { signal: abort.signal, onReleased: () => released.push('released') },
      )
    abort.abort(new Error('enough'))
    await expect(request).rejects.toThrow('enough')
    expect(released).toEqual([])
    await device.close()
    expect(released).toEqual(['released'])
  })

  it('describes itself', async () => {
    const { transport, device } = await open()
    expect(device.describe()).toMatchObject({
      transport: 'scripted',
      location: transport.location,
      interrupts: 'msix',
      vectors: 2,
      features: ['VERSION_1'],
      queues: [{ name: 'requestq', index: 0, size: 8, inFlight: 0 }],
    })
  })
})
