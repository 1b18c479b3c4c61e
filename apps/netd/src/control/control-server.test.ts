import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { PcapngScanner } from '../capture/pcapng-scanner.ts'
import { ControlClient, sessionNames } from './control-client.ts'
import { ControlServer } from './control-server.ts'
import { arpFrame, exampleDescription, FakeSession } from './fake-session.fixture.ts'
import { connectSessions } from './sessions.ts'

let directory = ''
let session: FakeSession
let server: ControlServer
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'netd-control-'))
  session = new FakeSession()
  server = await ControlServer.start({ name: 'vt0', observable: session, directory })
})
afterEach(async () => {
  await server.close()
  rmSync(directory, { recursive: true })
})

function raw(): Socket {
  return connect({ path: server.path, allowHalfOpen: true })
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
}

describe('ControlServer', () => {
  it('describes the session, its name and its process', async () => {
    const client = await ControlClient.connect('vt0', directory)
    const description = await client.describe()
    client.close()
    expect(description).toMatchObject({
      name: 'vt0',
      pid: process.pid,
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    })
    expect(description).toMatchObject(exampleDescription)
    expect(Math.abs(Date.parse(description.started) - Date.now())).toBeLessThan(60_000)
  })

  it('answers as often as asked on one connection', async () => {
    const client = await ControlClient.connect('vt0', directory)
    expect(await client.stats()).toEqual({ rx_packets: 10, tx_packets: 7 })
    expect(await client.stats()).toEqual({ rx_packets: 20, tx_packets: 7 })
    client.close()
  })

  it('answers requests that come in one piece, in order, and ends when its client ends', async () => {
    const socket = raw()
    socket.end('{"request":"stats"}\n{"request":"nonsense"}\n{"request":"stats"}\n')
    const lines = (await text(socket)).trim().split('\n')
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { ok: true, result: { rx_packets: 10, tx_packets: 7 } },
      {
        ok: false,
        error: { code: 'control.bad-request', message: expect.stringContaining('describe, stats or capture') },
      },
      { ok: true, result: { rx_packets: 20, tx_packets: 7 } },
    ])
  })

  it('throws out a client whose line does not end', async () => {
    const socket = raw()
    socket.write('x'.repeat(5000))
    expect(JSON.parse(await text(socket))).toMatchObject({ ok: false })
    socket.destroy()
    const client = await ControlClient.connect('vt0', directory)
    expect(await client.stats()).toBeDefined()
    client.close()
  })

  it('does not keep answers for a client that never reads', async () => {
    const socket = connect(server.path).pause()
    socket.on('error', () => {})
    session.counters = Object.fromEntries(Array.from({ length: 2000 }, (_, index) => [`counter_${index}`, index]))
    socket.write('{"request":"stats"}\n'.repeat(180))
    const answer = JSON.stringify({ ok: true, result: session.stats() }).length
    await new Promise((resolve) => setTimeout(resolve, 100))
    let received = 0
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    socket.resume()
    await new Promise((resolve) => socket.on('close', resolve))
    expect(received).toBeGreaterThan(0)
    expect(received).toBeLessThan(100 * answer)
  })

  it('survives a session that cannot answer', async () => {
    session.stats = () => {
      throw new Error('not now')
    }
    const client = await ControlClient.connect('vt0', directory)
    await expect(client.stats()).rejects.toMatchObject({
      code: 'control.internal',
      message: expect.stringContaining('not now'),
    })
    expect((await client.describe()).name).toBe('vt0')
    client.close()
  })

  it('refuses a second netd of the same name, and says who has it', async () => {
    await expect(ControlServer.start({ name: 'vt0', observable: session, directory })).rejects.toMatchObject({
      code: 'control.name-taken',
      message: 'a netd named vt0 is running already',
      why: [expect.stringContaining(server.path)],
    })
    const other = await ControlServer.start({ name: 'vt1', observable: session, directory })
    expect(sessionNames(directory)).toEqual(['vt0', 'vt1'])
    await other.close()
    await other.close()
    expect(sessionNames(directory)).toEqual(['vt0'])
  })

  it('tells its clients by ending', async () => {
    const client = await ControlClient.connect('vt0', directory)
    await client.stats()
    await server.close()
    expect(existsSync(server.path)).toBe(false)
    await expect(client.stats()).rejects.toMatchObject({ code: 'control.ended' })
  })
})

describe('a capture', () => {
  it('streams packets until its client ends its side, then the statistics', async () => {
    const client = await ControlClient.connect('vt0', directory)
    const { bytes, stop } = await client.capture({})
    expect(session.taps.size).toBe(1)
    const reading = buffer(bytes)
    for (let i = 0; i < 1000; i++) session.packet(i % 2 ? 'tx' : 'rx', arpFrame)
    stop()
    const scanner = new PcapngScanner()
    scanner.push(await reading)
    expect(scanner).toMatchObject({ packets: 1000, dropped: 0, complete: true })
    await until(() => session.taps.size === 0)
  })

  it('ends after its count', async () => {
    const client = await ControlClient.connect('vt0', directory)
    const { bytes } = await client.capture({ count: 3, snaplen: 20 })
    const reading = buffer(bytes)
    for (let i = 0; i < 10; i++) session.packet('rx', arpFrame)
    const capture = await reading
    const scanner = new PcapngScanner()
    scanner.push(capture)
    expect(scanner).toMatchObject({ packets: 3, complete: true })
    expect(capture.includes(Buffer.from(arpFrame.subarray(0, 20)))).toBe(true)
    expect(capture.includes(Buffer.from(arpFrame.subarray(0, 21)))).toBe(false)
    await until(() => session.taps.size === 0)
    client.close()
  })

  it('is given up when its client vanishes', async () => {
    const client = await ControlClient.connect('vt0', directory)
    const { bytes } = await client.capture({})
    bytes.resume()
    client.close()
    await until(() => session.taps.size === 0)
    session.packet('rx', arpFrame)
  })

  it('ends with its statistics when the session ends', async () => {
    const client = await ControlClient.connect('vt0', directory)
    const { bytes } = await client.capture({})
    const reading = buffer(bytes)
    session.packet('rx', arpFrame)
    await server.close()
    const scanner = new PcapngScanner()
    scanner.push(await reading)
    expect(scanner).toMatchObject({ packets: 1, complete: true })
    expect(session.taps.size).toBe(0)
  })

  it('drops and counts, and never holds up the data plane, while its client does not read', async () => {
    const client = await ControlClient.connect('vt0', directory)
    const { bytes, stop } = await client.capture({})
    bytes.pause()
    const frame = new Uint8Array(64 << 10)
    for (let i = 0; i < 300; i++) session.packet('rx', frame)
    const reading = buffer(bytes)
    stop()
    const scanner = new PcapngScanner()
    scanner.push(await reading)
    expect(scanner.complete).toBe(true)
    expect(scanner.packets).toBeLessThan(100)
    expect(scanner.packets + (scanner.dropped ?? 0)).toBe(300)
  })

  it('several at once see the same', async () => {
    const clients = await Promise.all([1, 2, 3].map(() => ControlClient.connect('vt0', directory)))
    const captures = await Promise.all(clients.map((client) => client.capture({ count: 2 })))
    const reading = Promise.all(captures.map(({ bytes }) => buffer(bytes)))
    session.packet('rx', arpFrame)
    session.packet('tx', arpFrame)
    for (const bytes of await reading) {
      const scanner = new PcapngScanner()
      scanner.push(bytes)
      expect(scanner.packets).toBe(2)
    }
    for (const client of clients) client.close()
  })
})

describe('ControlClient', () => {
  it('says which netds there are when it was asked for another', async () => {
    await expect(ControlClient.connect('vt7', directory)).rejects.toMatchObject({
      code: 'control.no-session',
      why: ['there is: vt0'],
    })
  })

  it('refuses a name that leads out of the directory', async () => {
    await expect(connectSessions('../../etc/x', directory)).rejects.toMatchObject({ code: 'control.name' })
  })

  it('lists nothing where there is no directory', async () => {
    expect(sessionNames(join(directory, 'missing'))).toEqual([])
    expect(await connectSessions(undefined, join(directory, 'missing'))).toEqual([])
  })
})
