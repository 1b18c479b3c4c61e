import { modelFunction, RngModel } from '@virtio-ts/device-models'
import { DeviceType } from '@virtio-ts/spec'
import { describe, expect, it } from 'vitest'
import { benchParts } from './bench-parts.ts'
import type { DeviceKind } from './device-kind.ts'
import { parseLocator, type QemuLocator } from './locator.ts'
import { checkModelOptions, modelFunctionOptions } from './model-options.ts'
import { openDevice } from './open-device.ts'

const rng: DeviceKind = {
  name: 'rng',
  deviceType: DeviceType.ENTROPY,
  model: async (options) => {
    checkModelOptions('rng', options, ['seed'])
    return modelFunction(new RngModel(), modelFunctionOptions('rng', options, ['mine']))
  },
  bench: (locator) => ({
    options: { ...benchParts(locator), devices: ['virtio-rng-pci,id=rng0'] },
    functionId: 'rng0',
  }),
  examples: ['model:rng', 'qemu:virtio-rng-pci'],
}

const open = (text: string, signal = new AbortController().signal) => openDevice(rng, parseLocator(text), signal)

describe('openDevice', () => {
  it('makes a software device and releases it', async () => {
    const device = await open('model:rng,interface=modern,packed=on,seed=1')
    expect(device.identity.function).toMatchObject({ bus: 'model', vendor: 0x1af4, device: 0x1044 })
    expect(device.reconnects).toBe(false)
    const transport = await device.attach({ wait: false, signal: new AbortController().signal })
    expect(transport.deviceType).toBe(DeviceType.ENTROPY)
    await transport.close()
    await device.release()
  })

  it.each([
    ['model:rng,colour=red', 'colour', 'known are profile, hostile, interface, packed, seed'],
    ['model:rng,profile=constructor', 'profile', 'one of honest, sloppy, strict, mine'],
    ['model:rng,interface=isa', 'interface', 'one of modern, legacy, transitional'],
    ['model:rng,hostile=mildly', 'hostile', /^one of /],
    ['model:rng,packed=perhaps', 'packed', 'on or off'],
  ])('refuses %s, naming the option', async (text, option, why) => {
    await expect(open(text)).rejects.toMatchObject({
      code: 'locator.option',
      message: `model:rng cannot use this ${option}`,
      why: [typeof why === 'string' ? why : (expect.stringMatching(why) as string)],
    })
  })

  it('knows a back-end behind a socket, and says what to do when there is none', async () => {
    const device = await open('vhost-user:/nonexistent/socket')
    expect(device).toMatchObject({ reconnects: true, identity: { socket: { listens: 'back-end' } } })
    await expect(device.attach({ wait: false, signal: new AbortController().signal })).rejects.toMatchObject({
      code: 'vhost-user.unreachable',
      why: ['there is no such socket'],
      fix: 'start the back-end, or listen there and let the back-end connect: vhost-user:/nonexistent/socket,server',
    })
    await device.release()
  })

  it('answers model:block with "not available in this version"', async () => {
    await expect(open('model:block')).rejects.toMatchObject({
      code: 'locator.unsupported',
      message: 'model:block is not available in this version',
      fix: 'model:rng, qemu:virtio-rng-pci work',
    })
  })

  it.each([
    ['vfio:00ff:00:04.0', 'pci.not-found'],
    ['sysfs:00ff:00:04.0', 'pci.not-found'],
  ])('says that there is no %s', async (text, code) => {
    await expect(open(text)).rejects.toMatchObject({ code })
  })

  it('starts nothing when it was given up already', async () => {
    await expect(open('qemu:virtio-rng-pci', AbortSignal.abort('no'))).rejects.toBe('no')
  })
})

describe('benchParts', () => {
  it('spells the parts of a locator as QEMU does, under names of its own', () => {
    const text = 'qemu:x;netdev=tap,ifname=t0;drive=/tmp/a,,b.img,format=raw;chardev=/run/c.sock,server=on;machine=pc'
    expect(benchParts(parseLocator(text) as QemuLocator)).toEqual({
      netdevs: ['tap,id=net0,script=no,downscript=no,vhost=off,ifname=t0'],
      drives: ['if=none,id=drive0,file=/tmp/a,,b.img,format=raw'],
      chardevs: ['socket,id=char0,path=/run/c.sock,server=on'],
      machine: 'pc',
    })
    expect(benchParts(parseLocator('qemu:x') as QemuLocator)).toEqual({})
  })
})
