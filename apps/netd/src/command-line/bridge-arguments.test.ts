import { parseArguments } from '@virtio-ts/command-line'
import { expect, it } from 'vitest'
import { bridgeArguments } from './bridge-arguments.ts'
import { commands } from './commands.ts'

const spec = commands.find(({ name }) => name === 'bridge') as (typeof commands)[number]
const parse = (...args: string[]): ReturnType<typeof bridgeArguments> =>
  bridgeArguments(parseArguments('netd', spec, args))

it('takes two devices, and what they have in common', () => {
  expect(parse('model:net', 'vhost-user:/a', '--name', 'up', '--queues', '2', '--features', '-CSUM', '--poll')).toEqual(
    {
      locators: [
        { scheme: 'model', device: 'net', options: {} },
        { scheme: 'vhost-user', path: '/a', server: false },
      ],
      name: 'up',
      queues: 2,
      noOffload: false,
      features: ['CSUM'],
      metrics: undefined,
      poll: true,
      force: false,
      wait: false,
      json: false,
    },
  )
  expect(parse('model:net', 'model:net')).toMatchObject({ name: undefined, queues: 1, poll: false })
})

it.each([
  [['model:net'], 'usage.missing-argument', /needs LOCATOR/],
  [['model:net', 'model:net', 'model:net'], 'usage.extra-argument', /unexpected argument/],
  [['model:net', 'usb:1'], 'locator.scheme', /usb/],
  [['model:net', 'model:rng'], 'locator.unsupported', /not available/],
  [['vfio:00:04.0', 'sysfs:0000:00:04.0'], 'usage.invalid-value', /both devices/],
  [['vhost-user:/a', 'vhost-user:/a,server'], 'usage.invalid-value', /both devices/],
  [['model:net', 'model:net', '--name', '../x'], 'usage.invalid-value', /--name/],
  [['model:net', 'model:net', '--queues', '257'], 'usage.invalid-value', /--queues/],
  [['model:net', 'model:net', '--tap', 'vt0'], 'usage.unknown-option', /--tap/],
])('refuses %s', (args, code, message) => {
  expect(() => parse(...args)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }))
})
