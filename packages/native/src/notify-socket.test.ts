import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Errno } from './errno.ts'
import { close, openFdCount, read } from './file-descriptor.ts'
import { NotifySocket } from './notify-socket.ts'
import { AddressFamily, bindSocket, SocketType, socket } from './socket.ts'

let folder: string
let receiver: number
let before: number
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'native-'))
  before = openFdCount()
  receiver = socket(AddressFamily.UNIX, SocketType.DATAGRAM)
})
afterEach(() => {
  close(receiver)
  expect(openFdCount()).toBe(before)
  rmSync(folder, { recursive: true })
})

function listenAt(name: string): void {
  bindSocket(receiver, Uint8Array.from([AddressFamily.UNIX, 0, ...new TextEncoder().encode(name)]))
}

/** The next message, or the error number. */
function received(): string | number {
  const bytes = new Uint8Array(4096)
  const length = read(receiver, bytes)
  return length < 0 ? length : new TextDecoder().decode(bytes.subarray(0, length))
}

describe('NotifySocket', () => {
  it('sends each message as one datagram to a path', () => {
    const path = join(folder, 'notify')
    listenAt(`${path}\0`)
    const notify = NotifySocket.fromEnvironment({ NOTIFY_SOCKET: path })
    expect(notify.present).toBe(true)
    expect(notify.send('READY=1\nSTATUS=vt0: läuft')).toBe(true)
    expect(notify.send('WATCHDOG=1')).toBe(true)
    expect([received(), received(), received()]).toEqual(['READY=1\nSTATUS=vt0: läuft', 'WATCHDOG=1', -Errno.EAGAIN])
  })

  it('knows abstract names', () => {
    const name = `virtio-ts-${process.pid}-${Math.random()}`
    listenAt(`\0${name}`)
    expect(new NotifySocket(`@${name}`).send('READY=1')).toBe(true)
    expect(received()).toBe('READY=1')
    // Not another name that begins alike.
    expect(new NotifySocket(`@${name.slice(0, -1)}`).send('READY=1')).toBe(false)
  })

  it('does nothing without a service manager', () => {
    expect(NotifySocket.fromEnvironment({}).present).toBe(false)
    for (const name of [undefined, '', '@', '/', 'relative', 'vsock:2:1234', '/a\0b', `/${'x'.repeat(107)}`]) {
      const notify = new NotifySocket(name)
      expect([name, notify.present, notify.send('READY=1')]).toEqual([name, false, false])
    }
    expect(new NotifySocket(join(folder, 'nobody')).send('READY=1')).toBe(false)
    expect(new NotifySocket(`/${'x'.repeat(106)}`).present).toBe(true)
    expect(new NotifySocket(`@${'x'.repeat(107)}`).present).toBe(true)
  })

  it('gives up on one that takes nothing any more', () => {
    const path = join(folder, 'notify')
    listenAt(`${path}\0`)
    const notify = new NotifySocket(path)
    let taken = 0
    while (taken < 100_000 && notify.send('WATCHDOG=1')) taken++
    expect(taken).toBeGreaterThan(0)
    expect(taken).toBeLessThan(100_000)
    expect(received()).toBe('WATCHDOG=1')
    expect(notify.send('WATCHDOG=1')).toBe(true)
  })
})
