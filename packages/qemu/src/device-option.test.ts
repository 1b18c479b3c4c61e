import { describe, expect, it } from 'vitest'
import { deviceOption, onBus, optionParts } from './device-option.ts'
import { checkVersion } from './launch.ts'
import { qemuArguments, ramLayout } from './qemu-arguments.ts'
import { StreamPeer } from './stream-peer.ts'

describe('deviceOption', () => {
  it.each([
    ['virtio-rng-pci', { id: 'd0', driver: 'virtio-rng-pci', text: 'virtio-rng-pci,id=d0' }],
    ['virtio-rng-pci,id=mine', { id: 'mine', driver: 'virtio-rng-pci', text: 'virtio-rng-pci,id=mine' }],
    ['driver=virtio-rng-pci', { id: 'd0', driver: 'virtio-rng-pci', text: 'driver=virtio-rng-pci,id=d0' }],
    // a value that only looks like an id
    ['x,serial=a,,id=b', { id: 'd0', driver: 'x', text: 'x,serial=a,,id=b,id=d0' }],
    [
      'virtio-net-pci,netdev=n0',
      { id: 'd0', driver: 'virtio-net-pci', text: 'virtio-net-pci,netdev=n0,id=d0,romfile=' },
    ],
    [
      'virtio-net-pci-transitional',
      { id: 'd0', driver: 'virtio-net-pci-transitional', text: 'virtio-net-pci-transitional,id=d0,romfile=' },
    ],
    [
      'virtio-net-pci,romfile=x.rom,id=n',
      { id: 'n', driver: 'virtio-net-pci', text: 'virtio-net-pci,romfile=x.rom,id=n' },
    ],
    ['virtio-net-ccw', { id: 'd0', driver: 'virtio-net-ccw', text: 'virtio-net-ccw,id=d0' }],
    [
      ' {"driver":"virtio-net-pci"}',
      { id: 'd0', driver: 'virtio-net-pci', text: '{"romfile":"","driver":"virtio-net-pci","id":"d0"}' },
    ],
    ['{"driver":"x","id":"y"}', { id: 'y', driver: 'x', text: '{"driver":"x","id":"y"}' }],
  ])('%s', (text, expected) => {
    expect(deviceOption(text, 'd0')).toEqual({ bus: undefined, ...expected })
  })

  it.each(['', ',', 'id=x', '{', '{}', '{"driver":3}', '{"driver":"x","id":1}', 'a\nb', 'a\0b'])(
    'refuses %j',
    (text) => {
      expect(() => deviceOption(text, 'd0')).toThrowError(TypeError)
    },
  )

  it('knows the bus, and can be put on one', () => {
    expect(deviceOption('x,bus=b', 'd0').bus).toBe('b')
    expect(deviceOption('{"driver":"x","bus":"b"}', 'd0').bus).toBe('b')
    expect(onBus(deviceOption('x', 'd0'), 'b')).toEqual({ id: 'd0', driver: 'x', bus: 'b', text: 'x,id=d0,bus=b' })
    expect(onBus(deviceOption('{"driver":"x"}', 'd0'), 'b').text).toBe('{"driver":"x","id":"d0","bus":"b"}')
  })

  it('optionParts undoes doubled commas', () => {
    expect(optionParts('a,b=c,,d,e=,f==')).toEqual([
      { key: 'a', value: undefined },
      { key: 'b', value: 'c,d' },
      { key: 'e', value: '' },
      { key: 'f', value: '=' },
    ])
  })
})

describe('qemuArguments', () => {
  it('numbers the descriptors of peers by their order, and leaves out what is not wanted', () => {
    const peers = [new StreamPeer('a'), new StreamPeer('b')]
    const args = qemuArguments(
      {
        devices: [],
        machine: 'pc',
        netdevs: [peers[0] as StreamPeer, 'user,id=u', peers[1] as StreamPeer],
        ivshmemVectors: 0,
        sandbox: false,
      },
      [],
    )
    const netdevs = args.filter((_, index) => args[index - 1] === '-netdev')
    expect(netdevs).toEqual([
      'stream,id=a,server=off,addr.type=fd,addr.str=8',
      'user,id=u',
      'stream,id=b,server=off,addr.type=fd,addr.str=9',
    ])
    expect(args.join(' ')).not.toMatch(/ivshmem|sandbox|ICH9/)
    for (const peer of peers) peer.close()
  })
})

describe('checkVersion', () => {
  it.each([
    [7, 2],
    [7, 3],
    [8, 0],
    [10, 1],
  ])('takes %i.%i', (major, minor) => {
    expect(() => checkVersion({ major, minor, micro: 0 })).not.toThrow()
  })

  it.each([
    [7, 1],
    [6, 9],
    [0, 0],
  ])('refuses %i.%i', (major, minor) => {
    expect(() => checkVersion({ major, minor, micro: 5 })).toThrowError(
      expect.objectContaining({ code: 'qemu.version', message: expect.stringContaining(`${major}.${minor}.5`) }),
    )
  })
})

describe('ramLayout', () => {
  const MiB = 2 ** 20
  it('leaves the first MiB alone', () => {
    expect(ramLayout({})).toEqual({ fileLength: 64 * MiB, offset: MiB, length: 63 * MiB, deviceAddress: MiB })
  })

  it('puts high memory behind what is below 4 GiB', () => {
    expect(ramLayout({ memory: 2 * MiB, highMemory: true })).toEqual({
      fileLength: 66 * MiB,
      offset: 64 * MiB,
      length: 2 * MiB,
      deviceAddress: 2 ** 32,
    })
  })
})
