import { PciError } from '@virtio-ts/pci'
import { VirtioError } from '@virtio-ts/spec'
import { describe, expect, it } from 'vitest'
import { exitCodeOf } from './exit-code-of.ts'
import { CommandError } from './command-error.ts'

function coded(code: string, cause?: unknown): Error {
  return Object.assign(new Error(code, { cause }), { code })
}

describe('exitCodeOf', () => {
  it.each([
    ['usage.unknown-option', 2],
    ['locator.syntax', 2],
    ['locator.scheme', 2],
    ['locator.unsupported', 69],
    ['features.unknown-name', 2],
    ['features.refused', 69],
    ['control.no-session', 69],
    ['control.ended', 75],
    ['control.name-taken', 1],
    ['device.gone', 69],
    ['device.wrong-type', 69],
    ['device.needs-reset', 75],
    ['device.reset-timeout', 75],
    ['pci.gone', 69],
    ['pci.address', 2],
    ['pci.address-space', 69],
    ['pci.in-use', 75],
    ['pci.memory-locked', 77],
    ['pci.permission', 77],
    ['binding.no-function', 69],
    ['binding.timeout', 75],
    ['takeover.default-route', 78],
    ['takeover.stacked', 78],
    ['takeover.permission', 77],
    ['takeover.in-use', 75],
    ['takeover.group', 69],
    ['takeover.incomplete', 1],
    ['takeover.journal', 1],
    ['qemu.not-found', 69],
    ['qmp.timeout', 69],
    ['ring.id-range', 75],
    ['queue.missing', 69],
    ['queue.reset-timeout', 75],
    ['memory.exhausted', 75],
    ['console.port-removed', 69],
    ['tap.busy', 73],
    ['tap.gone', 75],
    ['tap.permission', 77],
    ['EACCES', 77],
    ['EPERM', 77],
    ['EBUSY', 75],
    ['ENODEV', 69],
    ['ENOENT', 1],
    ['constructor', 1],
    ['something.new', 1],
  ])('%s is %i', (code, exitCode) => {
    expect(exitCodeOf(coded(code))).toBe(exitCode)
  })

  it('knows the errors of the layers below', () => {
    expect(exitCodeOf(new VirtioError('device.gone', 'gone'))).toBe(69)
    expect(exitCodeOf(new PciError('pci.no-bar', 'none'))).toBe(69)
    expect(exitCodeOf(new CommandError('usage.x', 'x'))).toBe(2)
  })

  it('puts a refused permission anywhere in the causes before all else', () => {
    expect(exitCodeOf(coded('tap.open', coded('EPERM')))).toBe(77)
    expect(exitCodeOf(coded('tap.open', coded('EBUSY')))).toBe(73)
  })

  it('takes the outermost code it knows', () => {
    expect(exitCodeOf(new Error('?', { cause: coded('qemu.exited', coded('EBUSY')) }))).toBe(69)
  })

  it('is 1 for what has no code, or is no error, or is its own cause', () => {
    const loop = new Error('loop')
    loop.cause = loop
    for (const error of [new Error('x'), 'text', undefined, null, { code: 5 }, loop]) expect(exitCodeOf(error)).toBe(1)
  })
})
