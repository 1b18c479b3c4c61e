import { type CommandError, errorReport, parseArguments } from '@virtio-ts/command-line'
import { describe, expect, it } from 'vitest'
import { commands } from './commands.ts'
import { netd } from './netd.ts'
import { type RunArguments, runArguments } from './run-arguments.ts'

const runCommand = commands.find(({ name }) => name === 'run')

function parse(...args: string[]): RunArguments {
  if (!runCommand) throw new Error('no command run')
  return runArguments(parseArguments('netd', runCommand, args))
}

function failure(...args: string[]): CommandError {
  try {
    parse(...args)
  } catch (error) {
    return error as CommandError
  }
  throw new Error(`accepted: ${args.join(' ')}`)
}

describe('runArguments', () => {
  it('has defaults for everything but the device', () => {
    const args = parse('model:net')
    expect(args.locator).toMatchObject({ scheme: 'model', device: 'net' })
    expect({ ...args, locator: undefined }).toEqual({
      locator: undefined,
      tap: 'vt%d',
      mac: undefined,
      mtu: undefined,
      queues: 1,
      noOffload: false,
      features: [],
      capture: undefined,
      metrics: undefined,
      poll: false,
      force: false,
      wait: false,
      json: false,
    })
  })

  it('reads every option', () => {
    const args = parse(
      ...[
        'qemu:virtio-net-pci',
        '--tap',
        'vt0',
        '--mac',
        '52-54-00-AB-CD-EF',
        '--mtu',
        '9000',
        '--queues',
        '1',
        '--no-offload',
      ],
      ...['--features', '-CSUM,-mrg_rxbuf,-VIRTIO_NET_F_MAC,-VIRTIO_F_VERSION_1,-CSUM'],
      ...['--capture', '/tmp/x.pcapng', '--metrics', '[::1]:9090', '--poll', '--json'],
    )
    expect({ ...args, locator: undefined }).toEqual({
      locator: undefined,
      tap: 'vt0',
      mac: '52:54:00:ab:cd:ef',
      mtu: 9000,
      queues: 1,
      noOffload: true,
      features: ['CSUM', 'MRG_RXBUF', 'MAC', 'VERSION_1'],
      capture: '/tmp/x.pcapng',
      metrics: { kind: 'tcp', host: '::1', port: 9090 },
      poll: true,
      force: false,
      wait: false,
      json: true,
    })
  })

  it.each([
    ['--mac', '01:00:5e:00:00:01', /group address/],
    ['--mac', 'ff:ff:ff:ff:ff:ff', /group address/],
    ['--mac', '00:00:00:00:00:00', /all-zero/],
    ['--mac', '52:54:00:12:34', /six pairs/],
    ['--mac', '52:54:00:12:34:56:78', /six pairs/],
    ['--mac', '52:54-00:12:34:56', /six pairs/],
    ['--mac', '525400123456', /six pairs/],
    ['--mtu', '67', /68 to 65535/],
    ['--mtu', '65536', /68 to 65535/],
    ['--mtu', '0x5dc', /68 to 65535/],
    ['--mtu', '1500.0', /68 to 65535/],
    ['--mtu', '-1', /68 to 65535/],
    ['--mtu', '99999999999999999999', /68 to 65535/],
    ['--tap', 'sixteencharacter', /15 characters, this has 16/],
    ['--tap', '../x', /letters/],
    ['--tap', 'a b', /letters/],
    ['--tap', 'a:b', /letters/],
    ['--tap', '.', /letters/],
    ['--tap', 'vt%s', /letters/],
    ['--tap', '%d%d', /letters/],
    ['--queues', '0', /1 to 256/],
    ['--queues', '257', /1 to 256/],
    ['--queues', 'two', /1 to 256/],
    ['--features', 'CSUM', /does not begin with "-"/],
    ['--features', '+CSUM', /does not begin with "-"/],
    ['--features', '-CSUM,', /does not begin with "-"/],
    ['--features', '-CSUM,-', /does not begin with "-"/],
    ['--features', '-CSMU', /did you mean CSUM/],
    ['--features', '-toString', /no feature is called/],
    ['--metrics', '9090', /HOST:PORT/],
    ['--metrics', 'host:', /HOST:PORT/],
    ['--metrics', 'host:65536', /HOST:PORT/],
    ['--metrics', '[::1', /HOST:PORT/],
    ['--metrics', '[1:2]:80', /HOST:PORT/],
    ['--metrics', 'unix:', /HOST:PORT/],
    ['--capture', '-', /stdout of netd run/],
  ] as const)('refuses %s %s', (option, value, why) => {
    const error = failure('model:net', `${option}=${value}`)
    expect(error.code).toBe('usage.invalid-value')
    expect(error.message).toContain(option)
    expect(error.why.join('\n')).toMatch(why)
    expect(errorReport(netd, error)).toContain('\n  fix: ')
  })

  it.each(['vt0', 'vt%d', 'a', 'fifteen-chars-x', 'eth0.100', '_x'])('takes %s for the interface', (name) => {
    expect(parse('model:net', '--tap', name).tap).toBe(name)
  })

  it('takes a path as place of the metrics', () => {
    expect(parse('model:net', '--metrics', '/run/x.sock').metrics).toEqual({ kind: 'unix', path: '/run/x.sock' })
    expect(parse('model:net', '--metrics', './x').metrics).toEqual({ kind: 'unix', path: './x' })
    expect(parse('model:net', '--metrics', 'unix:x').metrics).toEqual({ kind: 'unix', path: 'x' })
    expect(parse('model:net', '--metrics', 'localhost:0').metrics).toEqual({ kind: 'tcp', host: 'localhost', port: 0 })
  })
})
