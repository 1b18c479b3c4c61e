import { PassThrough } from 'node:stream'
import { type MemoryIo, memoryIo } from '@virtio-ts/command-line/memory-io'
import { parseLocator } from '@virtio-ts/device-locator'
import { beforeEach, describe, expect, it } from 'vitest'
import type { AttachArguments } from '../command-line/attach-arguments.ts'
import { openConsole } from '../session/console-session.ts'
import { attachSession } from './attach.ts'
import { list } from './list.ts'

const locator = parseLocator('model:console,ports=one+two,size=100x30')

describe('vcon in memory', () => {
  let memory: MemoryIo

  beforeEach(() => {
    memory = memoryIo({ program: 'vcon' })
  })

  async function attach(args: Partial<AttachArguments>, input: string): Promise<number> {
    const all = { locator, port: undefined, link: undefined, escape: 0x1d, wait: 30, json: false, ...args }
    const session = await openConsole(locator, memory.io.signal)
    const stdin = new PassThrough()
    stdin.end(input)
    try {
      return await attachSession(session, all, memory.io, { stdin, stdout: memory.io.stdout })
    } finally {
      await session.close()
    }
  }

  it('attach copies the input to the port, and what it says to the output; messages are for people', async () => {
    // Between pipes the escape is a byte like others.
    expect(await attach({}, 'words\x1dmore')).toBe(0)
    expect(memory.stdout()).toBe('words\x1dmore')
    expect(memory.stderr()).toBe(
      'vcon: port 0 of model:console,ports=one+two,size=100x30\nvcon: left (end of input): 10 bytes sent, 10 received\n',
    )
  })

  it('attach --json has its events on standard error', async () => {
    expect(await attach({ port: 'two', json: true }, 'x')).toBe(0)
    const [ready, stopped] = memory
      .stderr()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object)
    expect(ready).toMatchObject({
      event: 'ready',
      port: 2,
      name: 'two',
      console: false,
      connected: true,
      transport: 'pci-modern',
    })
    expect(stopped).toEqual({ event: 'stopped', reason: 'end of input', sent: 1, received: 1 })
    expect(memory.stdout()).toBe('x')
  })

  it('list is a table, or JSON', async () => {
    expect(await list({ locator, json: false }, memory.io)).toBe(0)
    expect(memory.stdout()).toBe(
      [
        'PORT  NAME  KIND     OTHER END  SIZE',
        '   0  -     console  connected  100x30',
        '   1  one   port     connected  -',
        '   2  two   port     connected  -\n',
      ].join('\n'),
    )
    memory = memoryIo()
    expect(await list({ locator, json: true }, memory.io)).toBe(0)
    expect(JSON.parse(memory.stdout())).toContainEqual({
      port: 0,
      name: null,
      console: true,
      connected: true,
      size: { columns: 100, rows: 30 },
    })
  })
})
