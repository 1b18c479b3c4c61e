import { ownedPciDevice } from '@virtio-ts/device-locator'
import { ConsoleModel, modelFunction } from '@virtio-ts/device-models'
import { ConsoleDriver, type ConsolePort } from '@virtio-ts/driver-console'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Ending, connectPort } from './connect-port.ts'
import type { LocalEnd } from './local-end.ts'

const settle = (ms = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('connectPort', () => {
  let model: ConsoleModel
  let driver: ConsoleDriver
  let port: ConsolePort
  let input: PassThrough
  let output: PassThrough
  let escape: () => void
  let released: number
  const controller = { current: new AbortController() }

  beforeEach(async () => {
    model = new ConsoleModel({ ports: [{ id: 1, name: 'one', connected: false }] })
    controller.current = new AbortController()
    const { signal } = controller.current
    const device = ownedPciDevice(modelFunction(model))
    driver = await ConsoleDriver.open(await device.attach({ wait: false, signal }))
    port = driver.port(1)!
    input = new PassThrough()
    output = new PassThrough()
    released = 0
  })

  afterEach(() => driver.close())

  function connect(end: Partial<LocalEnd> = {}, lastWords = 2000): Promise<Ending> {
    const local: LocalEnd = {
      input,
      output,
      newline: '\n',
      lingers: false,
      waits: false,
      escaped: new Promise((resolve) => (escape = resolve)),
      resize: () => {},
      release: () => void released++,
      close: () => {},
      ...end,
    }
    const failed = new Promise<never>((_, reject) => driver.on('fault', reject))
    return connectPort({ driver, port, local, wait: 30, signal: controller.current.signal, failed, lastWords })
  }

  const heard = (): string => Buffer.from(model.port(1).takeReceived()).toString()

  it('copies both ways until the user leaves; what was typed before arrives', async () => {
    const ending = connect()
    input.write('typed')
    await settle()
    model.port(1).send(Buffer.from('said'))
    await settle()
    expect(String(output.read())).toBe('said')
    input.write(' last')
    escape()
    expect(await ending).toEqual({ reason: 'escape', lost: undefined })
    expect(heard()).toBe('typed last')
    expect(released).toBe(1)
  })

  it('a signal ends it, though the device takes nothing; what is lost is told', async () => {
    model.port(1).reading = false
    const ending = connect()
    input.write(Buffer.alloc(100_000))
    await settle()
    controller.current.abort('SIGTERM')
    const { reason, lost } = await ending
    expect(reason).toBe('SIGTERM')
    expect(lost).toBeGreaterThan(30_000)
  })

  it('what was typed before leaving arrives, though the port was full then', async () => {
    model.port(1).reading = false
    const ending = connect()
    input.write(Buffer.alloc(100_000, 'a'))
    input.write('tail')
    await settle()
    escape()
    await settle()
    model.port(1).reading = true
    expect(await ending).toEqual({ reason: 'escape', lost: undefined })
    const all = heard()
    expect(all).toHaveLength(100_004)
    expect(all.endsWith('tail')).toBe(true)
  })

  it('a signal while what was typed last is on its way cuts that short', async () => {
    model.port(1).reading = false
    const ending = connect({}, 2 ** 30)
    input.write(Buffer.alloc(100_000))
    await settle()
    escape()
    await settle(100)
    // The terminal is back already: Ctrl-C means that signal again.
    expect(released).toBe(1)
    controller.current.abort('SIGINT')
    expect(await ending).toMatchObject({ reason: 'escape', lost: expect.any(Number) })
  })

  it('the end of a piped input waits until the device has taken all of it, and for an answer', async () => {
    model.port(1).reading = false
    const ending = connect({ lingers: true })
    let ended = false
    void ending.then(() => (ended = true))
    input.end(Buffer.alloc(100_000, 'a'))
    await settle(100)
    expect(ended).toBe(false)
    model.port(1).onData(() => model.port(1).pending === 0 && model.port(1).send(Buffer.from('ok')))
    model.port(1).reading = true
    expect(await ending).toEqual({ reason: 'end of input', lost: undefined })
    expect(heard()).toHaveLength(100_000)
    expect(String(output.read())).toMatch(/^(ok)+$/)
  })

  it('a reader that does not read keeps it from ending', async () => {
    const ending = connect({ lingers: true, output: new PassThrough({ highWaterMark: 10 }) })
    let ended = false
    void ending.then(() => (ended = true))
    model.port(1).send(Buffer.alloc(100_000))
    input.end()
    await settle(150)
    expect(ended).toBe(false)
    controller.current.abort('SIGINT')
    expect((await ending).reason).toBe('SIGINT')
  })

  it('input waits for somebody at the other end, and again when nobody is there any more', async () => {
    const ending = connect({ waits: true })
    input.write('early')
    await settle()
    expect(heard()).toBe('')
    model.port(1).connected = true
    await settle()
    expect(heard()).toBe('early')
    model.port(1).connected = false
    await settle()
    input.write('meanwhile')
    await settle()
    expect(heard()).toBe('')
    model.port(1).connected = true
    await settle()
    expect(heard()).toBe('meanwhile')
    escape()
    await ending
  })

  it('a port that is taken away is an error, after what it said', async () => {
    const ending = connect()
    await settle()
    model.port(1).send(Buffer.from('last words'))
    model.removePort(1)
    await expect(ending).rejects.toMatchObject({ code: 'console.port-removed' })
    expect(String(output.read())).toBe('last words')
  })

  it('what this side fails with is an error', async () => {
    const ending = connect()
    input.destroy(new Error('the terminal is gone'))
    await expect(ending).rejects.toThrow('the terminal is gone')
  })

  it('a device that fails is an error', async () => {
    const ending = connect()
    model.host?.needsReset('test')
    const caught = await Promise.race([ending.catch((error: { code: string }) => error.code), settle(3000)])
    expect(caught).toBe('device.needs-reset')
  })
})
