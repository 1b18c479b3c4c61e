import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ReadStream } from 'node:tty'
import { memoryIo, type MemoryIo } from '@virtio-ts/command-line/memory-io'
import { openBench, parseLocator, type QemuLocator } from '@virtio-ts/device-locator'
import { ConsoleModel, VhostUserBackEnd } from '@virtio-ts/device-models'
import { openTerminal, rawModes, terminalModes } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AttachArguments } from '../../apps/vcon/src/command-line/attach-arguments.ts'
import { attachSession } from '../../apps/vcon/src/commands/attach.ts'
import { consoleBench, portId } from '../../apps/vcon/src/session/console-device.ts'
import { openConsole, openSession } from '../../apps/vcon/src/session/console-session.ts'
import type { StandardStreams } from '../../apps/vcon/src/session/local-end.ts'
import { PtyStream } from '../../apps/vcon/src/terminal/pty-stream.ts'
import { requirement } from '../requirements.ts'
import { OtherEnd } from '../support/running-vcon.ts'

function options(locator: string): AttachArguments {
  return { locator: parseLocator(locator), port: undefined, link: undefined, escape: 0x1d, wait: 50, json: true }
}

const events = (memory: MemoryIo): { event: string }[] =>
  memory
    .stderr()
    .split(/\r?\n/)
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { event: string })

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let turn = 0; turn < 1000 && !condition(); turn++) await new Promise((resolve) => setTimeout(resolve, 10))
  if (!condition()) throw new Error(`never happened: ${what}`)
}

/** A terminal of which this process has both ends. */
class Desk {
  readonly keyboard: PtyStream = new PtyStream()
  readonly fd: number = openTerminal(this.keyboard.path)
  /** As Node has it for descriptor 0. */
  readonly stdin: ReadStream & { readonly fd: number } = Object.assign(new ReadStream(this.fd), { fd: this.fd })
  readonly memory: MemoryIo = memoryIo({ program: 'vcon' })

  close(): void {
    this.stdin.destroy()
    this.keyboard.destroy()
  }
}

describe('a device that changes while vcon is attached', () => {
  let desk: Desk
  let folder: string

  beforeEach(() => {
    desk = new Desk()
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-vcon-'))
  })

  afterEach(() => {
    desk.close()
    rmSync(folder, { recursive: true })
  })

  const streams = (): StandardStreams => ({
    stdin: desk.stdin,
    stdout: desk.memory.io.stdout,
  })

  requirement('qemu')('on QEMU', () => {
    it('a port that device_del takes away: what it said is heard, an error says so, the terminal is as before', async () => {
      const end = new OtherEnd()
      const locator = end.locator('virtserialport,name=org.example.gone')
      const device = await openBench(consoleBench(parseLocator(locator) as QemuLocator))
      const session = await openSession(device, desk.memory.io.signal)
      const before = terminalModes(desk.fd)!
      try {
        const attached = attachSession(session, options(locator), desk.memory.io, streams())
        const caught = attached.catch((error: unknown) => error)
        const peer = await end.connect()
        await until(() => events(desk.memory).some(({ event }) => event === 'connected'), 'connected')
        expect(terminalModes(desk.fd)).toEqual(rawModes(before))
        peer.write('last words')
        await until(() => desk.memory.stdout() === 'last words', 'the words')
        await device.bench.qmp.deviceDel(portId)
        expect(await caught).toMatchObject({ code: 'console.port-removed', message: 'port 1 was taken away' })
        expect(terminalModes(desk.fd)).toEqual(before)
        expect(session.driver.ports).toEqual([])
      } finally {
        await session.close()
        end.close()
      }
    })
  })

  requirement()('on our own vhost-user back-end', () => {
    it('a console behind a socket; its size is told when it changes; a back-end that ends is an error', async () => {
      const path = join(folder, 'vhost.sock')
      const model = new ConsoleModel({ size: { columns: 100, rows: 40 } })
      const backEnd = VhostUserBackEnd.serve(model, { path })
      const locator = `vhost-user:${path}`
      const session = await openConsole(parseLocator(locator), desk.memory.io.signal)
      const before = terminalModes(desk.fd)!
      const attached = attachSession(session, options(locator), desk.memory.io, streams())
      const caught = attached.catch((error: unknown) => error)
      await until(() => events(desk.memory).length > 0, 'ready')
      expect(events(desk.memory)[0]).toMatchObject({ event: 'ready', device: locator, transport: 'vhost-user' })
      desk.keyboard.write('typed')
      let typed = ''
      await until(() => (typed += Buffer.from(model.port(0).takeReceived())) === 'typed', 'what was typed')
      model.port(0).send(Buffer.from('said'))
      await until(() => desk.memory.stdout() === 'said', 'what was said')
      model.resize(0, { columns: 120, rows: 50 })
      await until(() => events(desk.memory).some(({ event }) => event === 'resize'), 'the new size')
      expect(events(desk.memory).at(-1)).toEqual({ event: 'resize', columns: 120, rows: 50 })
      backEnd.close()
      expect(await caught).toMatchObject({ code: 'device.gone' })
      expect(terminalModes(desk.fd)).toEqual(before)
      await session.close()
    })
  })
})
