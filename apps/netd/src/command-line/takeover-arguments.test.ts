import { describe, expect, it } from 'vitest'
import { bindArguments, releaseArguments } from './takeover-arguments.ts'

function parsed(argument: string, values: Record<string, string> = {}, ...flags: string[]) {
  return { positionals: [argument], values: new Map(Object.entries(values)), flags: new Set(flags) }
}

describe('bindArguments', () => {
  it('takes an address, a driver, --force', () => {
    expect(bindArguments(parsed('0000:00:04.0'))).toEqual({
      address: '0000:00:04.0',
      driver: 'vfio-pci',
      force: false,
      json: false,
    })
    expect(bindArguments(parsed('vfio:0:4.0,x=y', { driver: 'none' }, 'force', 'json'))).toEqual({
      address: '0:4.0',
      driver: 'none',
      force: true,
      json: true,
    })
  })

  it('refuses a driver it knows nothing of', () => {
    expect(() => bindArguments(parsed('0:4.0', { driver: 'e1000e' }))).toThrow(
      expect.objectContaining({ code: 'usage.invalid-value' }),
    )
  })
})

describe('releaseArguments', () => {
  it.each([
    ['0000:00:04.0', '0000:00:04.0'],
    ['vfio:0000:00:04.0', '0000:00:04.0'],
    ['sysfs:0000:00:04.0;driver=none', '0000:00:04.0'],
    ['0000:00:04.0,x', '0000:00:04.0,x'],
    ['vhost-user:/run/a.sock', undefined],
    ['qemu:virtio-net-pci', undefined],
    ['model:net', undefined],
    ['vfio:', 'vfio:'],
  ])('%s is %s', (text, address) => {
    expect(releaseArguments(parsed(text))).toEqual({ address, json: false })
  })
})
