import { parseArguments } from '@virtio-ts/command-line'
import { describe, expect, it } from 'vitest'
import { nbdUri } from '../serve/nbd-uri.ts'
import { benchArguments } from './bench-arguments.ts'
import { commands } from './commands.ts'
import { copyArguments } from './copy-arguments.ts'
import { serveArguments } from './serve-arguments.ts'

function parsed(name: string, ...args: string[]): ReturnType<typeof parseArguments> {
  const command = commands.find((candidate) => candidate.name === name)
  if (!command) throw new Error(name)
  return parseArguments('blkd', command, args)
}

describe('blkd serve', () => {
  it('takes locator, socket, name and access', () => {
    expect(
      serveArguments(parsed('serve', 'model:block', '--nbd', 'unix:/run/a b.sock', '--name', 'dïsk', '--read-only')),
    ).toMatchObject({
      locator: { scheme: 'model', device: 'block' },
      path: '/run/a b.sock',
      name: 'dïsk',
      readOnly: true,
      json: false,
    })
  })

  it.each([
    [['model:block'], 'usage.missing-option'],
    [['model:block', '--nbd', 'unix:'], 'usage.invalid-value'],
    [['model:block', '--nbd', '/run/x'], 'usage.invalid-value'],
    [['model:block', '--nbd', 'unix:/x', '--name', 'x'.repeat(257)], 'usage.invalid-value'],
    [['model:net', '--nbd', 'unix:/x'], 'locator.unsupported'],
  ])('refuses %j', (args, code) => {
    expect(() => serveArguments(parsed('serve', ...args))).toThrow(expect.objectContaining({ code }))
  })
})

describe('blkd copy', () => {
  it('knows devices by their scheme, and takes the rest for files', () => {
    const { from, to } = copyArguments(parsed('copy', './model:x', 'vhost-user:/run/a'))
    expect([from, to]).toEqual([
      { file: './model:x' },
      { device: { scheme: 'vhost-user', path: '/run/a', server: false } },
    ])
    expect(copyArguments(parsed('copy', 'model:block', 'model:block,size=1G')).to).toHaveProperty('device')
    expect(() => copyArguments(parsed('copy', 'a', 'b'))).toThrow(
      expect.objectContaining({ code: 'usage.invalid-value' }),
    )
  })
})

describe('blkd bench', () => {
  it('reads, 4 KiB at a time, unless told otherwise', () => {
    expect(benchArguments(parsed('bench', 'model:block'))).toMatchObject({
      write: false,
      sequential: false,
      depth: 32,
      warmUp: 0,
      seconds: 5,
    })
    expect(
      benchArguments(
        parsed('bench', 'model:block', '--write-destroys-data', '--length', '64K', '--queues', '2', '--warm-up', '6'),
      ),
    ).toMatchObject({
      write: true,
      length: 65536,
      queues: 2,
      warmUp: 6,
    })
  })
})

it('writes addresses that clients understand', () => {
  expect(nbdUri('/run/disk.sock', '')).toBe('nbd+unix:///?socket=/run/disk.sock')
  expect(nbdUri('/run/a&b c', 'my disk/1')).toBe('nbd+unix:///my%20disk%2F1?socket=/run/a%26b%20c')
})
