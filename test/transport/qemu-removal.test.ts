import type { Transport } from '@virtio-ts/core'
import { QemuBench } from '@virtio-ts/qemu'
import { isVirtioError } from '@virtio-ts/spec'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, describe, expect, it } from 'vitest'
import { EntropyQueue } from './entropy-queue.ts'

let bench: QemuBench | undefined
afterEach(async () => {
  await bench?.close()
  bench = undefined
})

function goneReason(transport: Transport): Promise<Error> {
  return new Promise((resolve) => {
    transport.onGone(resolve)
  })
}

describe('a real device that goes away', () => {
  it.each(['disable-legacy=on', 'disable-modern=on'])('C6 unplugged by surprise, %s', async (property) => {
    bench = await QemuBench.start({ machine: 'pc', devices: [`virtio-rng-pci,${property},id=rng`] })
    const transport = await VirtioPciDriver.attach(bench.function('rng'))
    const { queue } = await EntropyQueue.start(transport)
    await queue.round()
    const told = goneReason(transport)
    await bench.hotRemove('rng')
    expect(await told).toMatchObject({ code: 'device.gone' })
    await expect(transport.status()).rejects.toMatchObject({ code: 'device.gone' })
    await expect(transport.reset()).rejects.toMatchObject({ code: 'device.gone' })
    transport.notify(0)
    await transport.close()
  })

  it('C6 its process killed', async () => {
    bench = await QemuBench.start({ devices: ['virtio-rng-pci,disable-legacy=on,id=rng'] })
    const transport = await VirtioPciDriver.attach(bench.function('rng'))
    const { queue } = await EntropyQueue.start(transport)
    await queue.round()
    const told = goneReason(transport)
    process.kill(bench.pid, 'SIGKILL')
    const reason = await told
    expect(isVirtioError(reason)).toBe(true)
    expect(reason).toMatchObject({ code: 'device.gone' })
    await expect(transport.readConfig(0, new Uint8Array(0))).rejects.toMatchObject({ code: 'device.gone' })
    transport.notify(0)
    await transport.close()
  })

  it('C6 registers switched off under the driver: memory access goes with them', async () => {
    bench = await QemuBench.start({ devices: ['virtio-rng-pci,disable-legacy=on,id=rng'] })
    const fn = bench.function('rng')
    const transport = await VirtioPciDriver.attach(fn)
    await EntropyQueue.start(transport)
    expect(fn.configRead16(4) & 4).toBe(4)
    // What QEMU answers for addresses that nothing decodes is 0, so a reset looks confirmed.
    fn.configWrite16(4, fn.configRead16(4) & ~2)
    expect(fn.bar(4).read8(20)).toBe(0)
    await expect(transport.reset()).rejects.toMatchObject({ code: 'device.gone' })
    expect(fn.configRead16(4) & 4).toBe(0)
  })
})
