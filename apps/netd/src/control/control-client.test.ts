import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ControlClient } from './control-client.ts'
import { connectSessions } from './sessions.ts'

let directory = ''
let servers: Server[] = []
let sockets: Socket[] = []
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'netd-client-'))
  sockets = []
  servers = []
})
afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  await Promise.all(servers.map(closed))
  rmSync(directory, { recursive: true })
})

function closed(server: Server): Promise<unknown> {
  return new Promise((resolve) => server.close(resolve))
}

/** Something at the place of a netd that says whatever the test wants. */
async function impostor(onRequest: (socket: Socket) => void): Promise<ControlClient> {
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.on('data', () => onRequest(socket))
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(join(directory, 'x.sock'), resolve))
  return ControlClient.connect('x', directory)
}

describe('ControlClient against something else', () => {
  it.each([
    'hello\n',
    'null\n',
    '{}\n',
    '{"ok":true}\n',
    '{"ok":false,"error":5}\n',
    '{"ok":1,"result":2}\n',
    '\u0000\n',
  ])('does not take %j for an answer', async (answer) => {
    const client = await impostor((socket) => socket.write(answer))
    await expect(client.describe()).rejects.toMatchObject({ code: 'control.malformed' })
    client.close()
  })

  it('notices an end in the middle of an answer', async () => {
    const client = await impostor((socket) => socket.end('{"ok":tr'))
    await expect(client.describe()).rejects.toMatchObject({ code: 'control.ended' })
    await expect(client.describe()).rejects.toMatchObject({ code: 'control.ended' })
  })

  it('does not read a line for ever', async () => {
    const client = await impostor((socket) => socket.write('x'.repeat(2 << 20)))
    await expect(client.describe()).rejects.toThrow(RangeError)
  })

  it('does not wait for ever', async () => {
    const client = await impostor(() => {})
    await expect(client.stats()).rejects.toMatchObject({ code: 'control.unreachable' })
  })

  it('hands on what came in the same piece as the answer to capture', async () => {
    const client = await impostor((socket) => socket.end('{"ok":true,"result":{}}\nbytes'))
    const { bytes } = await client.capture({})
    const chunks: Buffer[] = []
    for await (const chunk of bytes) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).toString()).toBe('bytes')
  })

  it('passes over a socket whose netd was killed', async () => {
    const client = await impostor(() => {})
    client.close()
    for (const socket of sockets) socket.destroy()
    // Closing removes the file of the name it was bound to: under another name it stays, as after a kill.
    renameSync(join(directory, 'x.sock'), join(directory, 'dead.sock'))
    await Promise.all(servers.map(closed))
    servers = []
    expect(await connectSessions(undefined, directory)).toEqual([])
    await expect(connectSessions('dead', directory)).rejects.toMatchObject({ code: 'control.no-session' })
  })
})
