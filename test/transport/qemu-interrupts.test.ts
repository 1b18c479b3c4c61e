import { setTimeout as delay } from 'node:timers/promises'
import type { Transport } from '@virtio-ts/core'
import { openFdCount } from '@virtio-ts/native'
import { QemuBench, type QemuBenchOptions } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { DeviceStatus, featureSet, NetConfig, NetFeature, ReservedFeature } from '@virtio-ts/spec'
import { afterEach, describe, expect, it } from 'vitest'
import { EntropyQueue } from './entropy-queue.ts'

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close()
})

async function attach(
  device: string,
  options: Partial<QemuBenchOptions> = {},
  wanted: 'auto' | 'modern' | 'legacy' = 'auto',
): Promise<{ bench: QemuBench; transport: Transport }> {
  const bench = await QemuBench.start({ devices: [`${device},id=it`], ...options })
  opened.push(bench)
  const transport = await VirtioPciDriver.attach(bench.function('it'), { interface: wanted })
  opened.push(transport)
  return { bench, transport }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`)
    await delay(2)
  }
}

describe('used buffer notifications of a real device', () => {
  it.each([
    ['modern, MSI-X', 'virtio-rng-pci,disable-legacy=on', {}, 'auto', 'auto', 'msix', 2],
    ['modern, one vector', 'virtio-rng-pci,disable-legacy=on,vectors=1', {}, 'auto', 'auto', 'msix', 1],
    ['C15 modern, vectors=0: INTx', 'virtio-rng-pci,disable-legacy=on,vectors=0', {}, 'auto', 'auto', 'intx', 0],
    [
      'C15 modern, no vectors on the bus: INTx',
      'virtio-rng-pci,disable-legacy=on',
      { ivshmemVectors: 0 },
      'auto',
      'auto',
      'intx',
      0,
    ],
    ['modern, INTx asked for', 'virtio-rng-pci,disable-legacy=on', {}, 'auto', 'intx', 'intx', 0],
    ['modern on pc, INTx', 'virtio-rng-pci,disable-legacy=on,vectors=0', { machine: 'pc' }, 'auto', 'auto', 'intx', 0],
    ['legacy on q35, MSI-X', 'virtio-rng-pci,disable-modern=on', {}, 'auto', 'auto', 'msix', 2],
    ['legacy on q35, INTx', 'virtio-rng-pci,disable-modern=on,vectors=0', {}, 'auto', 'auto', 'intx', 0],
    ['legacy on pc, MSI-X', 'virtio-rng-pci,disable-modern=on', { machine: 'pc' }, 'auto', 'auto', 'msix', 2],
    ['legacy on pc, INTx', 'virtio-rng-pci,disable-modern=on,vectors=0', { machine: 'pc' }, 'auto', 'auto', 'intx', 0],
    ['transitional as legacy', 'virtio-rng-pci', {}, 'legacy', 'auto', 'msix', 2],
    ['modern, notifications by port', 'virtio-rng-pci,modern-pio-notify=on', {}, 'modern', 'auto', 'msix', 2],
    ['modern, memory above 4 GiB', 'virtio-rng-pci,disable-legacy=on', { highMemory: true }, 'auto', 'auto', 'msix', 2],
  ] as const)('%s', async (_, device, options, wanted, interrupts, mode, vectors) => {
    const { transport } = await attach(device, options, wanted)
    const started = await EntropyQueue.start(transport, interrupts)
    expect(started).toMatchObject({ mode, vectors })
    for (let i = 0; i < 20; i++) await started.queue.round()
    expect(started.queue.used).toBe(20)
    await transport.reset()
    started.queue.free()
  })

  it('arrive without interrupts too, for a driver that polls', async () => {
    const { transport } = await attach('virtio-rng-pci,disable-legacy=on')
    const { queue, mode } = await EntropyQueue.start(transport, 'none')
    expect(mode).toBe('none')
    let calls = 0
    transport.onUsed(0, () => calls++)
    queue.ask()
    await until(() => queue.used === 1, 'used')
    expect(calls).toBe(0)
    await transport.reset()
    queue.free()
  })

  it('§ 2.6.1.1.2 go on after the queue alone was reset and enabled again', async () => {
    const { transport } = await attach('virtio-rng-pci,disable-legacy=on')
    // Started by hand, as RING_RESET must be negotiated.
    await transport.reset()
    await transport.setStatus(3)
    const offered = await transport.deviceFeatures()
    const wanted = featureSet(ReservedFeature.VERSION_1, ReservedFeature.RING_RESET)
    expect(offered & wanted).toBe(wanted)
    const { queue } = await EntropyQueue.start(withFeatures(transport, wanted))
    await queue.round()
    await transport.resetQueue(0)
    await queue.enable()
    await queue.round()
    expect(queue.used).toBe(1)
    await transport.reset()
    queue.free()
  })

  it('start again after a reset of the device', async () => {
    const { transport } = await attach('virtio-rng-pci,disable-legacy=on')
    for (let round = 0; round < 3; round++) {
      const { queue } = await EntropyQueue.start(transport)
      await queue.round()
      await transport.reset()
      queue.free()
    }
  })

  it('leave no descriptor open, whatever the mode', async () => {
    const bench = await QemuBench.start({ devices: ['virtio-rng-pci,disable-legacy=on,id=it'] })
    opened.push(bench)
    const round = async (mode: 'msix' | 'intx'): Promise<void> => {
      const fn = bench.function('it')
      const transport = await VirtioPciDriver.attach(fn)
      const { queue } = await EntropyQueue.start(transport, mode)
      await queue.round()
      await transport.reset()
      queue.free()
      await transport.close()
      await fn.close()
    }
    await round('msix')
    await round('intx')
    const before = openFdCount()
    for (let i = 0; i < 5; i++) {
      await round('msix')
      await round('intx')
    }
    expect(openFdCount()).toBe(before)
  })
})

describe('configuration change notifications of a real device', () => {
  const all = DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER | DeviceStatus.DRIVER_OK
  const net = 'virtio-net-pci,netdev=n0,romfile='

  it.each([
    ['modern, MSI-X', `${net},disable-legacy=on`, 'msix', 4],
    ['modern, three vectors', `${net},disable-legacy=on,vectors=3`, 'msix', 3],
    ['C15 modern, two vectors', `${net},disable-legacy=on,vectors=2`, 'msix', 2],
    ['C15 modern, one vector', `${net},disable-legacy=on,vectors=1`, 'msix', 1],
    ['C15 modern, INTx', `${net},disable-legacy=on,vectors=0`, 'intx', 0],
    ['legacy, MSI-X', `${net},disable-modern=on`, 'msix', 4],
    ['legacy, INTx', `${net},disable-modern=on,vectors=0`, 'intx', 0],
  ] as const)('%s: the link goes down and up', async (_, device, mode, vectors) => {
    const { bench, transport } = await attach(device, { netdevs: ['user,id=n0'] })
    const features = featureSet(NetFeature.STATUS, NetFeature.MAC)
    await transport.reset()
    await transport.setStatus(3)
    await transport.acceptFeatures(transport.legacy ? features : features | featureSet(ReservedFeature.VERSION_1))
    if (!transport.legacy) await transport.setStatus(3 | DeviceStatus.FEATURES_OK)
    expect(await transport.setUpInterrupts(3, 'auto')).toEqual({ mode, vectors })
    let changes = 0
    transport.onConfigChange(() => changes++)
    await transport.setStatus(transport.legacy ? all : all | DeviceStatus.FEATURES_OK)

    const linkUp = async (): Promise<boolean> => {
      const status = new Uint8Array(2)
      await transport.readConfig(NetConfig.STATUS, status)
      return ((status[0] ?? 0) & NetConfig.S_LINK_UP) !== 0
    }
    expect(await linkUp()).toBe(true)
    await bench.qmp.setLink('it', false)
    await until(() => changes >= 1, 'first change')
    expect(await linkUp()).toBe(false)
    const before = changes
    await bench.qmp.setLink('it', true)
    await until(() => changes > before, 'second change')
    expect(await linkUp()).toBe(true)
    await transport.reset()
  })
})

/** The same transport, with other features accepted than the ones asked for. */
function withFeatures(transport: Transport, features: bigint): Transport {
  return new Proxy(transport, {
    get: (target, name) => {
      if (name === 'acceptFeatures') return () => target.acceptFeatures(features)
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
