import type { Transport } from '@virtio-ts/core'
import { heapDma } from '@virtio-ts/memory/heap'
import {
  dying,
  type HostileKind,
  hostile,
  type ModelPciFunction,
  modelFunction,
  NetModel,
  vboxModel,
} from '@virtio-ts/device-models'
import { DeviceStatus, featureSet, isVirtioError, ReservedFeature, splitRingLayout } from '@virtio-ts/spec'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, describe, expect, it } from 'vitest'

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK } = DeviceStatus

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close()
})

async function attach(fn: ModelPciFunction, wanted: 'auto' | 'legacy' = 'auto'): Promise<Transport> {
  opened.push(fn)
  const transport = await VirtioPciDriver.attach(fn, { interface: wanted, resetTimeout: 50 })
  opened.push(transport)
  return transport
}

const misbehaving = (
  kind: HostileKind,
  more: { value?: number; after?: number; times?: number; queue?: number } = {},
) => modelFunction(new NetModel(), { profile: hostile({ kind, ...more }) })

async function negotiate(transport: Transport): Promise<void> {
  await transport.reset()
  await transport.setStatus(ACKNOWLEDGE)
  await transport.setStatus(ACKNOWLEDGE | DRIVER)
  const wanted = featureSet(ReservedFeature.VERSION_1, ReservedFeature.RING_RESET)
  await transport.acceptFeatures((await transport.deviceFeatures()) & wanted)
  if (!transport.legacy) await transport.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
}

async function enableQueue(transport: Transport, index: number): Promise<void> {
  const size = await transport.queueSizeMax(index)
  const layout = splitRingLayout(size, transport.legacy)
  const region = transport.dma.allocate(layout.length, layout.alignment)
  const at = (offset: number) => (region.deviceAddress + offset) as typeof region.deviceAddress
  await transport.enableQueue(index, size, {
    descriptorArea: at(layout.descriptorArea),
    driverArea: at(layout.driverArea),
    deviceArea: at(layout.deviceArea),
  })
}

describe('a hostile model', () => {
  it.each([
    ['C1', 'caps-loop', 'pci.cap-loop'],
    ['C1', 'caps-stray', 'pci.cap-bounds'],
    ['C1', 'caps-end', 'transport.no-modern'],
    ['C2', 'caps-out-of-bar', 'pci.bar-too-small'],
    ['C2', 'caps-overflow', 'pci.bar-too-small'],
    ['C2', 'caps-bad-bar', 'transport.no-modern'],
    ['C2', 'caps-no-bar', 'pci.no-bar'],
    ['C2', 'caps-short', 'pci.cap-bounds'],
    ['C2', 'caps-length', 'pci.bar-too-small'],
    ['C2', 'caps-missing', 'transport.no-modern'],
    ['C2', 'bar-too-small', 'pci.bar-too-small'],
  ] as const)('%s %s is refused as %s', async (_, kind, code) => {
    const error = await attach(misbehaving(kind)).catch((reason: unknown) => reason)
    expect(isVirtioError(error)).toBe(true)
    expect(error).toMatchObject({ code })
  })

  it('C2 caps-unknown-first is passed over', async () => {
    await expect(attach(misbehaving('caps-unknown-first'))).resolves.toMatchObject({ name: 'pci-modern' })
  })

  it('C3 notify-off is refused before the queue is enabled', async () => {
    const transport = await attach(misbehaving('notify-off'))
    await negotiate(transport)
    await expect(enableQueue(transport, 0)).rejects.toMatchObject({ code: 'transport.notify-bounds' })
  })

  it('C5 num_queues 0 means no queues', async () => {
    const transport = await attach(misbehaving('queue-count', { value: 0 }))
    await negotiate(transport)
    expect(await transport.queueSizeMax(0)).toBe(0)
  })

  it('C5 num_queues 0xffff makes no queues that are not there', async () => {
    const transport = await attach(misbehaving('queue-count', { value: 0xffff }))
    await negotiate(transport)
    expect(await transport.queueSizeMax(0)).toBeGreaterThan(0)
    expect(await transport.queueSizeMax(0xfffe)).toBe(0)
  })

  it('C10 generation-storm ends', async () => {
    const transport = await attach(misbehaving('generation-storm'))
    await negotiate(transport)
    await expect(transport.readConfig(0, new Uint8Array(6))).rejects.toMatchObject({ code: 'config.unstable' })
  })

  it('C11 config-tear is never seen', async () => {
    const fn = misbehaving('config-tear', { times: 1 })
    const transport = await attach(fn)
    await negotiate(transport)
    const mac = new Uint8Array(6)
    await transport.readConfig(0, mac)
    // The model flips the same bits of every byte: a torn reading has them in some bytes only.
    const again = new Uint8Array(6)
    await transport.readConfig(0, again)
    expect([...mac]).toEqual([...again])
  })

  it('C15 vector-refused falls back to INTx, for some queue to a shared vector', async () => {
    const none = await attach(misbehaving('vector-refused'))
    await negotiate(none)
    expect(await none.setUpInterrupts(3, 'auto')).toEqual({ mode: 'intx', vectors: 0 })
    const some = await attach(misbehaving('vector-refused', { times: 1, queue: 1 }))
    await negotiate(some)
    expect(await some.setUpInterrupts(3, 'auto')).toEqual({ mode: 'msix', vectors: 2 })
  })

  it('C16 reset-never is told from a slow reset', async () => {
    const never = await attach(misbehaving('reset-never'))
    await never.setStatus(ACKNOWLEDGE)
    await expect(never.reset()).rejects.toMatchObject({ code: 'device.reset-timeout' })
    const slow = await attach(misbehaving('reset-slow', { times: 10 }))
    await slow.reset()
    expect(await slow.status()).toBe(0)
  })

  it('C17 queue-reset-never', async () => {
    const transport = await attach(misbehaving('queue-reset-never'))
    await negotiate(transport)
    await enableQueue(transport, 0)
    await expect(transport.resetQueue(0)).rejects.toMatchObject({ code: 'queue.reset-timeout', details: { queue: 0 } })
  })

  it('C6 a device that stops answering after any number of accesses: VirtioErrors, gone once, and no end without one', async () => {
    let completed = 0
    for (let after = 0; after < 400 && completed < 3; after++) {
      const fn = modelFunction(new NetModel(), {
        profile: dying({ after, silent: after % 2 === 0 }),
        dma: heapDma(1 << 18),
      })
      opened.push(fn)
      let told = 0
      let failure: unknown
      try {
        const transport = await VirtioPciDriver.attach(fn, { resetTimeout: 50 })
        transport.onGone(() => told++)
        try {
          await negotiate(transport)
          await transport.setUpInterrupts(3, 'auto')
          for (let index = 0; index < 3; index++) await enableQueue(transport, index)
          await transport.readConfig(0, new Uint8Array(6))
          await transport.setStatus((await transport.status()) | DRIVER_OK)
          transport.notify(0)
          await transport.reset()
          completed++
        } catch (error) {
          failure = error
          await new Promise((resolve) => setImmediate(resolve))
          expect(told).toBeLessThanOrEqual(1)
          transport.notify(0)
          await transport.close()
        }
      } catch (error) {
        failure = error
      }
      if (failure !== undefined) expect(isVirtioError(failure)).toBe(true)
      await fn.close()
    }
    expect(completed).toBe(3)
  })
})

describe('VirtualBox as a model', () => {
  it('4.3: C5 a queue that cannot be selected does not exist, INTx', async () => {
    const transport = await attach(vboxModel('4.3'))
    expect(transport.name).toBe('pci-legacy')
    await negotiate(transport)
    expect(await transport.queueSizeMax(2)).toBe(16)
    expect(await transport.queueSizeMax(3)).toBe(0)
    expect(await transport.setUpInterrupts(3, 'auto')).toEqual({ mode: 'intx', vectors: 0 })
  })

  it('7: structures in BAR 2, multiplier 2, vectors that were preset', async () => {
    const transport = await attach(vboxModel('7'))
    expect(transport.name).toBe('pci-modern')
    await negotiate(transport)
    expect(await transport.setUpInterrupts(3, 'auto')).toEqual({ mode: 'msix', vectors: 4 })
    await enableQueue(transport, 0)
    await enableQueue(transport, 1)
    transport.notify(1)
  })

  it('7 as legacy: configuration stays at 20 although MSI-X is on, so MSI-X is not used and nothing is overwritten', async () => {
    const fn = vboxModel('7', { mac: '08:00:27:12:34:56' })
    const transport = await attach(fn, 'legacy')
    await negotiate(transport)
    expect(await transport.setUpInterrupts(3, 'auto')).toEqual({ mode: 'intx', vectors: 0 })
    const mac = new Uint8Array(6)
    await transport.readConfig(0, mac)
    expect([...mac]).toEqual([0x08, 0x00, 0x27, 0x12, 0x34, 0x56])
  })
})
