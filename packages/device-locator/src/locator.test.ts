import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CommandError } from '@virtio-ts/command-line'
import { formatLocator, type Locator, parseLocator } from './locator.ts'

function failure(text: string): CommandError {
  try {
    parseLocator(text)
  } catch (error) {
    if (error instanceof CommandError) return error
    throw error
  }
  throw new Error(`accepted: ${text}`)
}

/** The same without the missing prototypes, which toEqual would tell apart. */
function plain(locator: Locator): unknown {
  return JSON.parse(JSON.stringify(locator))
}

describe('parseLocator', () => {
  it.each<[string, unknown]>([
    ['model:net', { scheme: 'model', device: 'net', options: {} }],
    ['model:net,mtu=9000,mac=', { scheme: 'model', device: 'net', options: { mtu: '9000', mac: '' } }],
    ['qemu:virtio-net-pci', { scheme: 'qemu', device: 'virtio-net-pci', properties: {} }],
    [
      'qemu:virtio-net-pci,disable-legacy=on,mac=52:54:00:00:00:01;netdev=tap,ifname=t0;machine=pc',
      {
        scheme: 'qemu',
        device: 'virtio-net-pci',
        properties: { 'disable-legacy': 'on', mac: '52:54:00:00:00:01' },
        netdev: { kind: 'tap', options: { ifname: 't0' } },
        machine: 'pc',
      },
    ],
    [
      'qemu:virtio-blk-pci;drive=/tmp/a,,b;;c.img,format=raw;chardev=/tmp/s',
      {
        scheme: 'qemu',
        device: 'virtio-blk-pci',
        properties: {},
        drive: { path: '/tmp/a,b;c.img', options: { format: 'raw' } },
        chardev: { path: '/tmp/s', options: {} },
      },
    ],
    [
      'qemu:virtio-net-pci;netdev=hub',
      { scheme: 'qemu', device: 'virtio-net-pci', properties: {}, netdev: { kind: 'hub', options: {} } },
    ],
    ['vhost-user:/run/vhost.sock', { scheme: 'vhost-user', path: '/run/vhost.sock', server: false }],
    ['vhost-user:/run/vhost.sock,server', { scheme: 'vhost-user', path: '/run/vhost.sock', server: true }],
    ['vfio:0000:00:04.0', { scheme: 'vfio', address: '0000:00:04.0' }],
    ['vfio:0A:1F.7', { scheme: 'vfio', address: '0000:0a:1f.7' }],
    ['sysfs:10000:00:04.0', { scheme: 'sysfs', address: '10000:00:04.0' }],
  ])('reads %s', (text, expected) => {
    expect(plain(parseLocator(text))).toEqual(expected)
  })

  it('keeps properties apart from what every object has', () => {
    const locator = parseLocator('model:net,__proto__=x,constructor=y')
    expect(locator).toMatchObject({ scheme: 'model' })
    if (locator.scheme !== 'model') return
    expect(Object.entries(locator.options)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ])
    expect(locator.options['toString']).toBeUndefined()
  })

  it.each([
    '',
    'net',
    'foo:bar',
    'Model:net',
    'model',
    ':net',
    '__proto__:x',
    'constructor:x',
    'https://example.org',
    '0000:00:04.0',
  ])('knows no scheme in %j', (text) => {
    const error = failure(text)
    expect(error.code).toBe('locator.scheme')
    for (const scheme of ['model:', 'qemu:', 'vhost-user:', 'vfio:', 'sysfs:'])
      expect(error.why.join('\n')).toContain(scheme)
  })

  it('suggests the scheme that was meant', () => {
    expect(failure('qmeu:virtio-net-pci').why[0]).toBe('did you mean qemu:?')
  })

  it.each([
    'model:',
    'model:,x=1',
    'model:net,',
    'model:net,x',
    'model:net,=1',
    'model:net,x=1,x=2',
    'model:-net',
    'model:net;x=1',
    'model:../net',
    'qemu:',
    'qemu:virtio-net-pci,netdev=n0',
    'qemu:virtio-net-pci,id=x',
    'qemu:virtio-net-pci,mq',
    'qemu:virtio-net-pci;',
    'qemu:virtio-net-pci;netdev',
    'qemu:virtio-net-pci;netdev=',
    'qemu:virtio-net-pci;netdev=bridge',
    'qemu:virtio-net-pci;netdev=user,id=x',
    'qemu:virtio-net-pci;netdev=user;netdev=tap',
    'qemu:virtio-net-pci;machine=isapc',
    'qemu:virtio-net-pci;machine=pc,accel=kvm',
    'qemu:virtio-net-pci;drive=',
    'qemu:virtio-net-pci;chardev=',
    'qemu:virtio-net-pci;device=x',
    'qemu:virtio-net-pci;scheme=x',
    'qemu:virtio-net-pci -monitor stdio',
    'vhost-user:',
    'vhost-user:/x,client',
    'vhost-user:/x,server,server',
    'vfio:',
    'vfio:0000:00:04',
    'vfio:0000:00:20.0',
    'vfio:0000:00:04.8',
    'vfio:0000:00:04.0/../x',
    'vfio:eth0',
    'sysfs:/sys/bus/pci/devices/0000:00:04.0',
    'model:net\u0000',
    'model:net,x=\u001b[2J',
    'model:net\n',
    'qemu:virtio-net-pci\u009b',
    `model:net,x=${'y'.repeat(5000)}`,
  ])('refuses %j', (text) => {
    const error = failure(text)
    expect(error.code).toBe('locator.syntax')
    expect(error.message.length).toBeLessThan(200)
  })

  it('fails in no other way, whatever the text', () => {
    const piece = fc.constantFrom(
      'model:',
      'qemu:',
      'vfio:',
      'vhost-user:',
      'net',
      'virtio-net-pci',
      ',',
      ';',
      '=',
      'netdev',
      'tap',
      '0000:00:04.0',
      'server',
      '__proto__',
    )
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 4 })), { maxLength: 12 }), (pieces) => {
        const text = pieces.join('')
        try {
          const locator = parseLocator(text)
          expect(plain(parseLocator(formatLocator(locator)))).toEqual(plain(locator))
        } catch (error) {
          expect(error).toBeInstanceOf(CommandError)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('formatLocator', () => {
  const value = fc.string({ unit: fc.constantFrom(',', ';', '=', ':', 'a', ' ', '"', 'ä'), maxLength: 8 })
  const options = fc.dictionary(fc.stringMatching(/^[a-z_][a-z0-9._-]{0,5}$/), value, { maxKeys: 3 }).map((entries) => {
    delete entries['id']
    delete entries['drive']
    return entries
  })
  const part = fc.record({ path: value.filter((path) => path !== ''), options })

  it('is read back as the same locator', () => {
    const qemu = fc.record(
      {
        scheme: fc.constant('qemu' as const),
        device: fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,8}$/),
        properties: options,
        netdev: fc.record({ kind: fc.constantFrom('user', 'tap', 'hub', 'stream'), options }),
        drive: part,
        chardev: part,
        machine: fc.constantFrom('q35', 'pc'),
      },
      { requiredKeys: ['scheme', 'device', 'properties'] },
    )
    const vhostUser = fc.record({
      scheme: fc.constant('vhost-user' as const),
      path: part.map(({ path }) => path),
      server: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.oneof(qemu, vhostUser), (locator) => {
        expect(plain(parseLocator(formatLocator(locator as Locator)))).toEqual(plain(locator as Locator))
      }),
      { numRuns: 1000 },
    )
  })
})
