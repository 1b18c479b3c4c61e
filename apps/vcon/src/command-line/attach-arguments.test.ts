import { type CommandError, errorReport, parseArguments } from '@virtio-ts/command-line'
import { describe, expect, it } from 'vitest'
import { type AttachArguments, attachArguments } from './attach-arguments.ts'
import { commands } from './commands.ts'
import { vcon } from './vcon.ts'

const command = commands.find(({ name }) => name === 'attach')!
const parse = (...args: string[]): AttachArguments => attachArguments(parseArguments('vcon', command, args))

function failure(...args: string[]): CommandError {
  try {
    parse(...args)
  } catch (error) {
    return error as CommandError
  }
  throw new Error(`accepted: ${args.join(' ')}`)
}

describe('attachArguments', () => {
  it('has defaults for everything but the device', () => {
    expect({ ...parse('model:console'), locator: undefined }).toEqual({
      locator: undefined,
      port: undefined,
      link: undefined,
      escape: 0x1d,
      wait: 500,
      json: false,
    })
  })

  it('reads every option', () => {
    expect(parse('model:console', '--port', '7', '--escape', '^a', '--wait', '1.25', '--json')).toMatchObject({
      port: 7,
      escape: 1,
      wait: 1250,
      json: true,
    })
    expect(parse('model:console', '--port', 'org.example.7', '--escape', 'none')).toMatchObject({
      port: 'org.example.7',
      escape: undefined,
    })
    expect(parse('model:console', '--link', '/run/con0')).toMatchObject({ link: '/run/con0' })
  })

  it.each([
    ['--port', '65536'],
    ['--port', 'a\x1b[2J'],
    ['--escape', ']'],
    ['--escape', '^1'],
    ['--escape', '^AB'],
    ['--wait', '-1'],
    ['--wait', '86401'],
    ['--wait', 'long'],
  ])('refuses %s %j', (option, value) => {
    expect(failure('model:console', `${option}=${value}`).code).toBe('usage.invalid-value')
  })

  it('refuses what has no meaning with a link', () => {
    for (const args of [
      ['--escape', '^A'],
      ['--wait', '1'],
    ])
      expect(failure('model:console', '--link', '/x', ...args).code).toBe('usage.contradiction')
  })

  it('refuses devices that are no consoles before anything is started', () => {
    expect(failure('model:net').code).toBe('locator.unsupported')
    const socketless = failure('qemu:virtio-serial-pci')
    expect(socketless.code).toBe('locator.option')
    expect(errorReport(vcon, socketless)).toContain(
      'fix: "qemu:virtio-serial-pci;chardev=/tmp/con0.sock,server=on,wait=off"',
    )
  })
})
