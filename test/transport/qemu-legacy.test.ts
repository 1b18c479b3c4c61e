import { QemuBench } from '@virtio-ts/qemu'
import { DeviceStatus, featureSet, NetFeature, splitRingLayout } from '@virtio-ts/spec'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, describe, expect, it } from 'vitest'

const MAC = [0x52, 0x54, 0x00, 0x12, 0x34, 0x99]

let bench: QemuBench | undefined
afterEach(async () => {
  await bench?.close()
  bench = undefined
})

async function legacy(machine: 'q35' | 'pc', more = '') {
  const mac = MAC.map((byte) => byte.toString(16).padStart(2, '0')).join(':')
  bench = await QemuBench.start({
    machine,
    devices: [`virtio-net-pci,netdev=n0,romfile=,disable-modern=on,mac=${mac}${more}`],
    netdevs: ['user,id=n0'],
  })
  const fn = bench.function(0)
  const transport = await VirtioPciDriver.attach(fn)
  expect(transport.name).toBe('pci-legacy')
  await transport.reset()
  await transport.setStatus(DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER)
  await transport.acceptFeatures(featureSet(NetFeature.MAC))
  return { fn, transport }
}

describe('legacy interface of a real device', () => {
  it.each(['q35', 'pc'] as const)('§ 4.1.4.10 configuration is at 20, at 24, at 20 again, on %s', async (machine) => {
    const { fn, transport } = await legacy(machine)
    const bar = fn.bar(0)
    const at = (offset: number): number[] => MAC.map((_byte, i) => bar.read8(offset + i))
    const read = async (): Promise<number[]> => {
      const into = new Uint8Array(6)
      await transport.readConfig(0, into)
      return [...into]
    }
    expect(at(20)).toEqual(MAC)
    expect(await read()).toEqual(MAC)
    const length = transport.configLength

    expect((await transport.setUpInterrupts(2, 'auto')).mode).toBe('msix')
    expect(at(20)).not.toEqual(MAC)
    expect(at(24)).toEqual(MAC)
    expect(await read()).toEqual(MAC)
    expect(transport.configLength).toBe(length - 4)

    expect((await transport.setUpInterrupts(2, 'none')).mode).toBe('none')
    expect(at(20)).toEqual(MAC)
    expect(await read()).toEqual(MAC)
    expect(transport.configLength).toBe(length)
    await transport.close()
  })

  it('stays at 20 with vectors=0, where there is no MSI-X', async () => {
    const { fn, transport } = await legacy('pc', ',vectors=0')
    expect((await transport.setUpInterrupts(2, 'auto')).mode).toBe('intx')
    expect(MAC.map((_byte, i) => fn.bar(0).read8(20 + i))).toEqual(MAC)
    const into = new Uint8Array(6)
    await transport.readConfig(0, into)
    expect([...into]).toEqual(MAC)
    await transport.close()
  })

  it('comes back to 20 when the transport is closed', async () => {
    const { fn, transport } = await legacy('q35')
    await transport.setUpInterrupts(2, 'auto')
    await transport.close()
    expect(MAC.map((_byte, i) => fn.bar(0).read8(20 + i))).toEqual(MAC)
  })

  it('dictates queue sizes, and takes the address as a page', async () => {
    const { fn, transport } = await legacy('q35')
    expect(await transport.queueSizeMax(0)).toBe(256)
    expect(await transport.queueSizeMax(3)).toBe(0)
    const layout = splitRingLayout(256, true)
    const region = transport.dma.allocate(layout.length, layout.alignment)
    const at = (offset: number) => (region.deviceAddress + offset) as typeof region.deviceAddress
    const addresses = { descriptorArea: at(0), driverArea: at(layout.driverArea), deviceArea: at(layout.deviceArea) }
    await expect(transport.enableQueue(0, 128, addresses)).rejects.toMatchObject({ code: 'queue.size-invalid' })
    await transport.enableQueue(0, 256, addresses)
    expect(await bench?.qmp.virtioQueueStatus('device0', 0)).toMatchObject({
      'vring-desc': region.deviceAddress,
      'vring-avail': addresses.driverArea,
      'vring-used': addresses.deviceArea,
    })
    fn.bar(0).write16(14, 0)
    expect(fn.bar(0).read32(8)).toBe(region.deviceAddress / 4096)
    await transport.reset()
    expect(fn.bar(0).read32(8)).toBe(0)
    transport.dma.free(region)
    await transport.close()
  })
})
