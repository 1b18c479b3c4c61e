import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { claimSocket, isListening } from './claim-socket.ts'

let directory = ''
let servers: Server[] = []
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'netd-claim-'))
  servers = []
})
afterEach(() => {
  for (const server of servers) server.close()
  rmSync(directory, { recursive: true })
})

function server(): Server {
  const made = createServer((socket) => socket.end())
  servers.push(made)
  return made
}

/** What a killed process leaves: the file of a socket that nobody listens on. */
async function leaveStale(path: string): Promise<void> {
  const dead = server()
  await claimSocket(dead, path)
  await new Promise((resolve) => dead.close(resolve))
  expect(existsSync(path)).toBe(true)
  expect(await isListening(path)).toBe(false)
}

describe('claimSocket', () => {
  it('listens at the path, for its user alone, and leaves nothing else behind', async () => {
    const path = join(directory, 'a.sock')
    const release = await claimSocket(server(), path)
    expect(await isListening(path)).toBe(true)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(directory)).toEqual(['a.sock'])
    release()
    expect(readdirSync(directory)).toEqual([])
  })

  it('does not take the place of one that lives', async () => {
    const path = join(directory, 'a.sock')
    await claimSocket(server(), path)
    await expect(claimSocket(server(), path)).rejects.toMatchObject({ code: 'control.socket-in-use' })
    expect(await isListening(path)).toBe(true)
    expect(readdirSync(directory)).toEqual(['a.sock'])
  })

  it('takes the place of a dead one', async () => {
    const path = join(directory, 'a.sock')
    await leaveStale(path)
    await claimSocket(server(), path)
    expect(await isListening(path)).toBe(true)
    expect(readdirSync(directory)).toEqual(['a.sock'])
  })

  it('has one winner when many start at once over a dead one', async () => {
    const path = join(directory, 'a.sock')
    await leaveStale(path)
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => claimSocket(server(), path)))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(await isListening(path)).toBe(true)
    expect(readdirSync(directory)).toEqual(['a.sock'])
  })

  it('takes away its own file only', async () => {
    const path = join(directory, 'a.sock')
    const release = await claimSocket(server(), path)
    rmSync(path)
    await claimSocket(server(), path)
    release()
    expect(await isListening(path)).toBe(true)
  })

  it('leaves alone what is not a socket', async () => {
    const path = join(directory, 'a.sock')
    writeFileSync(path, 'precious')
    await expect(claimSocket(server(), path)).rejects.toMatchObject({
      code: 'control.socket-in-use',
      message: expect.stringContaining('not a socket'),
    })
    symlinkSync(path, join(directory, 'link'))
    await expect(claimSocket(server(), join(directory, 'link'))).rejects.toMatchObject({
      code: 'control.socket-in-use',
    })
    expect(readFileSync(path, 'utf8')).toBe('precious')
    expect(readdirSync(directory)).toEqual(['a.sock', 'link'])
  })

  it('says why it cannot listen', async () => {
    await expect(claimSocket(server(), join(directory, 'missing', 'a.sock'))).rejects.toMatchObject({ code: 'EACCES' })
  })
})
