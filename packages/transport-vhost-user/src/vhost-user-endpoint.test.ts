import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { close, connectUnix, listenUnix, openFdCount } from '@virtio-ts/native'
import { DeviceType } from '@virtio-ts/spec'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { honestPeer, RawBackEnd, until } from './raw-back-end.fixture.ts'
import { VhostUserEndpoint, type VhostUserOptions } from './vhost-user-endpoint.ts'

const folder = mkdtempSync(join(tmpdir(), 'virtio-ts-endpoint-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let paths = 0
const open: { close(): unknown }[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close()
})

function endpointAt(path: string, options: Partial<VhostUserOptions> = {}): VhostUserEndpoint {
  const endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.NETWORK, ...options })
  open.push(endpoint)
  return endpoint
}

function backEndAt(options = {}): RawBackEnd {
  const backEnd = new RawBackEnd(options)
  open.push(backEnd)
  return backEnd
}

const newPath = (): string => join(folder, `${paths++}`)

describe('connecting to a back-end', () => {
  it('is tried once, and says what is wrong', async () => {
    const path = newPath()
    await expect(endpointAt(path).connect()).rejects.toMatchObject({
      name: 'VirtioError',
      code: 'vhost-user.unreachable',
      cause: { code: 'ENOENT' },
    })
    const listening = listenUnix(path)
    close(listening)
    await expect(endpointAt(path).connect()).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } })
  })

  it('is tried until somebody is there, where one wants to wait', async () => {
    const path = newPath()
    const endpoint = endpointAt(path)
    const connecting = endpoint.connect({ wait: true })
    await expect(endpoint.connect()).rejects.toThrow(RangeError)
    await new Promise((resolve) => setTimeout(resolve, 20))
    const backEnd = backEndAt()
    rmSync(path, { force: true })
    const { symlinkSync } = await import('node:fs')
    symlinkSync(backEnd.path, path)
    const transport = await connecting
    expect(transport.name).toBe('vhost-user')
    expect(transport.location).toBe(path)
    await transport.close()
  })

  it('goes on after a back-end that fails in the middle of it', async () => {
    const backEnd = backEndAt({ answers: { 15: () => new Uint8Array(3) } })
    const endpoint = endpointAt(backEnd.path)
    await expect(endpoint.connect()).rejects.toMatchObject({ code: 'vhost-user.protocol' })
    const connecting = endpoint.connect({ wait: true, signal: AbortSignal.timeout(200) })
    await expect(connecting).rejects.toMatchObject({ name: 'TimeoutError' })
    expect(backEnd.peers.length).toBeGreaterThan(2)
    await until(() => backEnd.peers.every((peer) => peer.ended))
  })

  it('ends by a signal, and by closing the endpoint, and leaves nothing open', async () => {
    const before = openFdCount()
    const endpoint = endpointAt(newPath())
    const reason = new Error('enough')
    await expect(endpoint.connect({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const abort = new AbortController()
    const first = endpoint.connect({ wait: true, signal: abort.signal })
    abort.abort(reason)
    await expect(first).rejects.toBe(reason)
    const second = endpoint.connect({ wait: true }).catch((error: unknown) => error)
    await endpoint.close()
    expect(await second).toMatchObject({ code: 'vhost-user.closed' })
    await endpoint.close()
    await expect(endpoint.connect()).rejects.toMatchObject({ code: 'vhost-user.closed' })
    expect(openFdCount()).toBe(before)
  })

  it('leaves nothing open, and no memory taken, when it fails', async () => {
    const backEnd = backEndAt({ answers: { 17: () => new Uint8Array(1) } })
    const endpoint = endpointAt(backEnd.path)
    const attempt = async (): Promise<void> => {
      await expect(endpoint.connect()).rejects.toMatchObject({ code: 'vhost-user.protocol' })
      await until(() => backEnd.peer.ended)
    }
    await attempt()
    const before = openFdCount()
    for (let i = 0; i < 20; i++) await attempt()
    expect(openFdCount()).toBe(before)
  })
})

describe('listening for back-ends', () => {
  it('takes one after the other, on a socket that stays', async () => {
    const path = newPath()
    const endpoint = endpointAt(path, { server: true })
    const before = openFdCount()
    for (let i = 0; i < 3; i++) {
      const connecting = endpoint.connect()
      const peer = honestPeer(connectUnix(path))
      const transport = await connecting
      expect(transport.location).toBe(path)
      await transport.close()
      await until(() => peer.ended)
    }
    // The listening one.
    expect(openFdCount()).toBe(before + 1)
    expect(existsSync(path)).toBe(true)
    await endpoint.close()
    expect(existsSync(path)).toBe(false)
  })

  it('goes on listening after somebody who leaves at once', async () => {
    const path = newPath()
    const endpoint = endpointAt(path, { server: true })
    const connecting = endpoint.connect({ wait: true })
    close(connectUnix(path))
    await new Promise((resolve) => setTimeout(resolve, 20))
    const peer = honestPeer(connectUnix(path))
    await (await connecting).close()
    peer.close()
  })

  it('replaces a socket that nobody listens on, and nothing else', async () => {
    const stale = newPath()
    close(listenUnix(stale))
    const endpoint = endpointAt(stale, { server: true })
    const connecting = endpoint.connect()
    const peer = honestPeer(connectUnix(stale))
    await (await connecting).close()
    peer.close()
    await expect(endpointAt(stale, { server: true }).connect()).rejects.toMatchObject({
      code: 'vhost-user.address-in-use',
    })
    expect(existsSync(stale)).toBe(true)
    const file = newPath()
    writeFileSync(file, 'precious')
    await expect(endpointAt(file, { server: true }).connect({ wait: true })).rejects.toMatchObject({
      code: 'vhost-user.address-in-use',
    })
    expect(existsSync(file)).toBe(true)
  })

  it('ends by a signal', async () => {
    const endpoint = endpointAt(newPath(), { server: true })
    const reason = new Error('enough')
    await expect(endpoint.connect({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const abort = new AbortController()
    const connecting = endpoint.connect({ signal: abort.signal })
    setTimeout(() => abort.abort(reason), 5)
    await expect(connecting).rejects.toBe(reason)
  })
})

describe('the address of a network device', () => {
  const readMac = async (endpoint: VhostUserEndpoint): Promise<string> => {
    const transport = await endpoint.connect()
    const mac = new Uint8Array(6)
    await transport.readConfig(0, mac)
    await transport.close()
    return Buffer.from(mac).toString('hex')
  }

  it('is made up once for an endpoint, and different for another', async () => {
    const backEnd = backEndAt()
    const endpoint = endpointAt(backEnd.path)
    const first = await readMac(endpoint)
    expect(await readMac(endpoint)).toBe(first)
    expect(await readMac(endpointAt(backEnd.path))).not.toBe(first)
    expect(Number.parseInt(first.slice(0, 2), 16) & 3).toBe(2)
  })

  it('is the one given', async () => {
    const mac = Uint8Array.of(2, 1, 2, 3, 4, 5)
    const endpoint = endpointAt(backEndAt().path, { net: { mac } })
    mac[5] = 99
    expect(await readMac(endpoint)).toBe('020102030405')
  })
})

describe('options', () => {
  const wrong: readonly Partial<VhostUserOptions>[] = [
    { timeout: 0 },
    { timeout: Number.NaN },
    { memory: { length: 0 } },
    { memory: { length: 1.5 } },
    { memory: { regions: 0 } },
    { memory: { regions: 33 } },
    { net: { mac: new Uint8Array(5) } },
    { net: { mac: Uint8Array.of(1, 0, 0, 0, 0, 0) } },
    { net: { mtu: 67 } },
    { net: { mtu: 65536 } },
  ]
  it.each(wrong)('%j cannot be', (options) => {
    expect(() => new VhostUserEndpoint({ path: '/x', deviceType: 1, ...options })).toThrow(RangeError)
  })
})
