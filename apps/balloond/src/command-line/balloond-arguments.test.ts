import { type CommandError, parseArguments } from '@virtio-ts/command-line'
import { describe, expect, it } from 'vitest'
import { type BalloondArguments, balloondArguments } from './balloond-arguments.ts'
import { command } from './command.ts'
import { formatSize, parseSize } from './parse-size.ts'

const parse = (...args: string[]): BalloondArguments => balloondArguments(parseArguments('balloond', command, args))

function failure(...args: string[]): CommandError {
  try {
    parse(...args)
  } catch (error) {
    return error as CommandError
  }
  throw new Error(`accepted: ${args.join(' ')}`)
}

describe('balloondArguments', () => {
  it('has defaults for everything but the device', () => {
    expect({ ...parse('model:balloon'), locator: undefined }).toEqual({
      locator: undefined,
      dryRun: false,
      interval: 1000,
      limits: { min: 0, max: 0xffffffff, step: 65_536, reserve: 67_108_864, high: 10, low: 1 },
      cgroup: undefined,
      pressure: undefined,
      free: 0,
      json: false,
    })
  })

  it('reads every option', () => {
    const args = parse(
      ...['qemu:virtio-balloon-pci', '--dry-run', '--json', '--interval', '0.25', '--min', '1M', '--max', '1.5G'],
      ...['--step', '5000', '--reserve', '0', '--high', '12.5', '--low', '0', '--cgroup', '/c', '--pressure', '/p'],
      ...['--free', '100K'],
    )
    expect({ ...args, locator: undefined }).toEqual({
      locator: undefined,
      dryRun: true,
      interval: 250,
      // Whole pages, rounded down.
      limits: { min: 256, max: 393_216, step: 1, reserve: 0, high: 12.5, low: 0 },
      cgroup: '/c',
      pressure: '/p',
      free: 65_536,
      json: true,
    })
  })

  it.each([
    ['--interval', '0'],
    ['--interval', '1e3'],
    ['--high', '101'],
    ['--high', '0'],
    ['--low', '10'],
    ['--max', '-1'],
    ['--max', '20T'],
    ['--step', '4095'],
    ['--free', 'all'],
  ])('refuses %s %j', (option, value) => {
    expect(failure('model:balloon', `${option}=${value}`).code).toBe('usage.invalid-value')
  })

  it('refuses limits that contradict each other, and devices that are no balloons', () => {
    expect(failure('model:balloon', '--min', '2M', '--max', '1M').code).toBe('usage.invalid-value')
    expect(failure('model:rng').code).toBe('locator.unsupported')
    // Its page numbers would be those of an IOMMU, and the device takes them for physical ones.
    expect(failure('vfio:0000:00:04.0').code).toBe('locator.unsupported')
  })
})

describe('sizes', () => {
  it.each([
    ['0', 0],
    ['4096', 4096],
    ['64k', 65_536],
    ['1.5G', 1_610_612_736],
    ['2MiB', 2_097_152],
    ['3MB', 3_145_728],
    ['16T', 2 ** 44],
  ])('%s', (text, bytes) => expect(parseSize(text)).toBe(bytes))

  it.each(['', 'M', '1.', '-1', '1e9', '17T', '1 M', '0x10'])('%j is none', (text) => {
    expect(parseSize(text)).toBeUndefined()
  })

  it('are shown short', () => {
    expect([0, 512, 4096, 8 * 2 ** 20, 1.5 * 2 ** 30].map(formatSize)).toEqual(['0', '512', '4K', '8M', '1.5G'])
  })
})
