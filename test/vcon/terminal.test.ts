import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { close, openTerminal, rawModes } from '@virtio-ts/native'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { OtherEnd, VconOnTerminal } from '../support/running-vcon.ts'

const program = new URL('../../apps/vcon/bin/vcon.js', import.meta.url).pathname
const parts = new URL('../../apps/vcon/dist/index.js', import.meta.url).href

/** Everything a socket has said. */
function listen(peer: Socket): () => string {
  let heard = ''
  peer.on('data', (chunk: Buffer) => (heard += chunk.toString('latin1')))
  return () => heard
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let turn = 0; turn < 1000 && !condition(); turn++) await new Promise((resolve) => setTimeout(resolve, 10))
  if (!condition()) throw new Error(`never happened: ${what}`)
}

requirement(
  'qemu',
  'setsid',
  'stty',
)('vcon attach on a terminal', () => {
  let end: OtherEnd
  let vcon: VconOnTerminal
  let peer: Socket

  beforeEach(() => {
    end = new OtherEnd()
  })

  afterEach(async () => {
    await vcon.close()
    end.close()
  })

  async function attach(port = 'virtio-serial-pci', ...args: string[]): Promise<void> {
    vcon = VconOnTerminal.start([end.locator(port), ...args])
    const { connected } = await vcon.event('ready')
    peer = await end.connect()
    if (!connected) return void (await vcon.event('connected'))
    // QEMU's consoles count as connected always, and throw away what comes before somebody is: hear from it first.
    peer.write('>')
    await vcon.see('>')
  }

  it('what is typed goes to the port, what it says is on the screen; Ctrl-] leaves, and everything is as before', async () => {
    await attach()
    expect(vcon.messages).toContain('Ctrl-] leaves')
    expect(vcon.modes).toEqual(rawModes(vcon.before))
    expect(vcon.modes).not.toEqual(vcon.before)
    const heard = listen(peer)
    // Keys that a terminal in its usual modes would keep to itself.
    vcon.type('hello\r\x03\x1a\x04\x13\x11\x7f')
    await until(() => heard() === 'hello\r\x03\x1a\x04\x13\x11\x7f', 'every key')
    expect(vcon.screen).toBe('>')
    const prompt = '\x1b[1mlogin:\x1b[0m \n\r\xff'
    peer.write(prompt, 'latin1')
    await vcon.see('login:')
    await until(() => vcon.screen === `>${prompt}`, 'unchanged')
    vcon.type('last words\x1dnot these')
    expect(await vcon.ended).toEqual({ code: 0, signal: null })
    await until(() => heard().endsWith('last words'), 'what was typed before leaving')
    expect(vcon.modes).toEqual(vcon.before)
    expect(vcon.events.at(-1)).toMatchObject({ event: 'stopped', reason: 'escape' })
  })

  it('SIGTERM: exit code 0, the terminal as before', async () => {
    await attach()
    expect(await vcon.stop()).toBe(0)
    expect(vcon.modes).toEqual(vcon.before)
    expect(vcon.events.at(-1)).toMatchObject({ event: 'stopped', reason: 'SIGTERM' })
  })

  it('a second signal, while the first waits for a peer that does not read: 143, the terminal as before', async () => {
    await attach('virtserialport,name=org.example.slow')
    peer.pause()
    for (let block = 0; block < 40; block++) vcon.type('x'.repeat(50_000))
    await new Promise((resolve) => setTimeout(resolve, 500))
    vcon.child.kill('SIGTERM')
    await until(() => !Buffer.from(vcon.modes).equals(rawModes(vcon.before)), 'the terminal is back at once')
    vcon.child.kill('SIGTERM')
    expect(await vcon.ended).toEqual({ code: 143, signal: null })
    expect(vcon.modes).toEqual(vcon.before)
  })

  it('QEMU killed: exit code 69, the terminal as before', async () => {
    await attach()
    const [qemu] = vcon.children
    process.kill(qemu as number, 'SIGKILL')
    expect(await vcon.ended).toEqual({ code: 69, signal: null })
    expect(vcon.modes).toEqual(vcon.before)
    expect(vcon.messages).toMatch(/vcon: .*\n(.*\n)* {2}fix: /)
  })

  it('goes back to raw mode when it was stopped and goes on', async () => {
    await attach()
    vcon.child.kill('SIGSTOP')
    // What a shell does with a terminal whose program was stopped.
    execFileSync('stty', ['-F', vcon.path, 'sane'])
    expect(vcon.modes).not.toEqual(rawModes(vcon.before))
    vcon.child.kill('SIGCONT')
    await until(() => Buffer.from(vcon.modes).equals(rawModes(vcon.before)), 'raw again')
    vcon.type('\x1d')
    expect((await vcon.ended).code).toBe(0)
  })

  it('another key leaves with --escape, and Ctrl-] is a key like others', async () => {
    await attach('virtio-serial-pci', '--escape', '^A')
    const heard = listen(peer)
    vcon.type('\x1d')
    await until(() => heard() === '\x1d', 'Ctrl-]')
    vcon.type('\x01')
    expect(await vcon.ended).toEqual({ code: 0, signal: null })
  })

  it('a port by its name, and by its number', async () => {
    await attach('virtserialport,name=org.example.agent,nr=5', '--port', 'org.example.agent')
    expect(vcon.events[0]).toMatchObject({ event: 'ready', port: 5, name: 'org.example.agent', console: false })
    vcon.type('there')
    expect(String(await once(peer, 'data'))).toBe('there')
    await vcon.close()
    end.close()
    end = new OtherEnd()
    await attach('virtserialport,name=org.example.agent,nr=5', '--port', '5')
    expect(vcon.events[0]).toMatchObject({ port: 5, name: 'org.example.agent' })
  })

  it('a port that is not there: the ports there are, exit code 69, nothing done to the terminal', async () => {
    vcon = VconOnTerminal.start([end.locator('virtserialport,name=org.example.agent'), '--port', 'org.example.other'])
    expect(await vcon.ended).toEqual({ code: 69, signal: null })
    expect(vcon.messages).toContain('the device has no port org.example.other')
    expect(vcon.messages).toContain('port 1 "org.example.agent"')
    expect(vcon.messages).toContain('fix: --port org.example.agent')
    expect(vcon.modes).toEqual(vcon.before)
  })

  it('a terminal that is hung up ends it, and QEMU with it', async () => {
    await attach()
    const [qemu] = vcon.children
    vcon.hangUp()
    expect(await vcon.ended).toEqual({ code: 0, signal: null })
    expect(() => process.kill(qemu as number, 0)).toThrow('ESRCH')
  })

  it('a program that crashes leaves the terminal as it was', async () => {
    vcon = VconOnTerminal.start(['model:console'])
    await vcon.event('ready')
    vcon.type('\x1d')
    await vcon.ended
    // Not one of the descriptors that Node looks after by itself.
    const terminal = openTerminal(vcon.path)
    const script = `import { RawTerminal } from ${JSON.stringify(parts)}
      RawTerminal.enter(3)
      process.stdout.write('raw')
      setTimeout(() => { throw new Error('crash') }, 300)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'ignore', terminal],
    })
    const ended = once(child, 'close')
    await once(child.stdout as Readable, 'data')
    expect(vcon.modes).toEqual(rawModes(vcon.before))
    expect((await ended)[0]).toBe(1)
    expect(vcon.modes).toEqual(vcon.before)
    close(terminal)
  })

  it('list has number, name, kind, and whether somebody is there', () => {
    const locator = end.locator('virtserialport,name=org.example.agent,nr=3')
    const text = execFileSync(process.execPath, [program, 'list', locator, '--json'], { encoding: 'utf8' })
    expect(JSON.parse(text)).toEqual([
      { port: 3, name: 'org.example.agent', console: false, connected: false, size: null },
    ])
    vcon = VconOnTerminal.start(['model:console'])
  })
})
