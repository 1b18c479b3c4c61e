import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ControlServer } from '../../apps/netd/src/control/control-server.ts'
import { arpFrame, FakeSession } from '../../apps/netd/src/control/fake-session.fixture.ts'

const program = fileURLToPath(new URL('../../apps/netd/bin/netd.js', import.meta.url))

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function netd(...args: string[]): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    timeout: 20_000,
  })
  return { code: status, stdout, stderr }
}

/** The built program beside a session of the test's own, which it reaches through its socket. */
class Started {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  stdout = ''
  stderr = ''

  constructor(directory: string, args: readonly string[]) {
    this.child = spawn(process.execPath, [program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NETD_RUNTIME_DIR: directory },
    })
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString('latin1')
    })
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk
    })
    this.ended = new Promise((resolve) => {
      this.child.on('close', (code) => resolve({ code, stdout: this.stdout, stderr: this.stderr }))
    })
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

describe('the built program', () => {
  it('prints its version and its help on stdout', () => {
    const { version } = JSON.parse(readFileSync(new URL('../../apps/netd/package.json', import.meta.url), 'utf8'))
    expect(netd('--version')).toEqual({ code: 0, stdout: `netd ${version}\n`, stderr: '' })
    const help = netd('--help')
    expect([help.code, help.stderr]).toEqual([0, ''])
    for (const command of ['demo', 'run', 'bridge', 'devices', 'show', 'stats', 'capture', 'doctor']) {
      expect(help.stdout).toMatch(new RegExp(`^ {2}${command}\\b`, 'm'))
      expect(netd(command, '--help').stdout).toContain(`Usage: netd ${command}`)
    }
  })

  it('answers mistakes with 2 and says what was meant, on stderr', () => {
    expect(netd('shwo')).toEqual({
      code: 2,
      stdout: '',
      stderr: 'netd: unknown command "shwo"\n  did you mean netd show?\n  fix: netd --help\n',
    })
    expect(netd('run', 'model:net', '--poll=1')).toMatchObject({ code: 2, stdout: '' })
    expect(netd('run', 'modle:net')).toMatchObject({ code: 2, stderr: expect.stringContaining('did you mean model:?') })
    expect(netd('run', 'model:net', '--queues', '0')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('from 1 to 256'),
    })
    expect(netd('bridge', 'model:net')).toMatchObject({ code: 2, stderr: expect.stringContaining('needs LOCATOR') })
    expect(netd()).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('Usage:') })
  })

  it('answers 69 for what is not there', () => {
    expect(netd('run', 'vfio:fffe:00:04.0').code).toBe(69)
    expect(netd('show', 'no-such-netd')).toMatchObject({
      code: 69,
      stdout: '',
      stderr: expect.stringContaining('no netd named no-such-netd is running'),
    })
  })

  it('lists devices and examines the machine as JSON', () => {
    expect(Array.isArray(JSON.parse(netd('devices', '--json').stdout))).toBe(true)
    const doctor = netd('doctor', '--json')
    const { ok, checks } = JSON.parse(doctor.stdout)
    expect(doctor.code).toBe(ok ? 0 : 1)
    expect(checks.find(({ id }: { id: string }) => id === 'koffi').status).toBe('pass')
  })

  it('colours only what goes to a terminal, unless told otherwise', () => {
    const run = (env: NodeJS.ProcessEnv, ...args: string[]) =>
      spawnSync(process.execPath, [program, 'doctor', ...args], { encoding: 'utf8', env: { ...process.env, ...env } })
        .stdout
    expect(run({})).not.toContain('\u001b')
    expect(run({ FORCE_COLOR: '1' })).toContain('\u001b[')
    expect(run({ FORCE_COLOR: '1' }, '--no-color')).not.toContain('\u001b')
    expect(run({ FORCE_COLOR: '1', NO_COLOR: '1' })).not.toContain('\u001b')
  })

  it('ends quietly when nobody reads it', async () => {
    const child = spawn(process.execPath, [program, 'doctor'], { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.destroy()
    const ended = new Promise((resolve) => child.on('close', resolve))
    expect([await text(child.stderr), await ended]).toEqual(['', 0])
  })

  it('fails when what it writes to is full', () => {
    const shell = spawnSync('sh', ['-c', '"$0" "$1" --help > /dev/full', process.execPath, program], {
      encoding: 'utf8',
    })
    expect(shell).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('netd: cannot write to stdout\n  ENOSPC'),
    })
  })
})

describe('the program where it was not built', () => {
  let copy = ''
  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), 'netd-unbuilt-'))
    cpSync(join(program, '..'), join(copy, 'bin'), { recursive: true })
  })
  afterAll(() => {
    rmSync(copy, { recursive: true })
  })

  it('says so, and how to build it', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(copy, 'bin/netd.js')], { encoding: 'utf8' })
    expect([status, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^netd: not built\n.*dist\/main\.js.*\n {2}fix: npm run build/)
  })

  it('works through a symbolic link, as npm installs it', () => {
    const link = join(copy, 'netd')
    symlinkSync(program, link)
    expect(execFileSync(process.execPath, [link, '--version'], { encoding: 'utf8' })).toMatch(/^netd /)
  })
})

describe('the program as client of a running netd', () => {
  let directory = ''
  let session: FakeSession
  let server: ControlServer
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'netd-cli-'))
    session = new FakeSession()
    server = await ControlServer.start({ name: 'vt0', observable: session, directory })
  })
  afterEach(async () => {
    await server.close()
    rmSync(directory, { recursive: true })
  })

  it('shows it', async () => {
    const ended = await new Started(directory, ['show', 'vt0']).ended
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    expect(Buffer.from(ended.stdout, 'latin1').toString()).toContain('└─ VirtioPciDriver  pci-modern, MSI-X 3 vectors')
  })

  it('watches its counters until Ctrl-C, and ends with 0 then', async () => {
    const watching = new Started(directory, ['stats', '--watch', '--json'])
    await until(() => watching.stdout.split('\n').length > 2)
    watching.child.kill('SIGINT')
    const { code, stdout, stderr } = await watching.ended
    expect([code, stderr]).toEqual([0, ''])
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).counters.rx_packets)
        .slice(0, 2),
    ).toEqual([10, 20])
  })

  it('ends a capture in order at SIGTERM, and at once at a second signal', async () => {
    const orderly = new Started(directory, ['capture', 'vt0', '-w', '-'])
    await until(() => session.taps.size === 1)
    session.packet('rx', arpFrame)
    orderly.child.kill('SIGTERM')
    expect(await orderly.ended).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('1 packet captured, 0 dropped'),
    })

    // What answers here begins a capture and never ends it.
    const sockets: Socket[] = []
    const endless = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.push(socket)
      socket.on('error', () => {})
      socket.once('data', () => socket.write('{"ok":true,"result":{}}\n'))
    })
    await new Promise<void>((resolve) => endless.listen(join(directory, 'endless.sock'), resolve))
    const stuck = new Started(directory, ['capture', 'endless', '-w', '-'])
    await until(() => stuck.stderr.includes('capturing'))
    stuck.child.kill('SIGINT')
    await new Promise((resolve) => setTimeout(resolve, 300))
    stuck.child.kill('SIGINT')
    expect((await stuck.ended).code).toBe(130)
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => endless.close(resolve))
  })

  it('notices that its netd was killed in the middle of a capture', async () => {
    const killed = spawn(
      process.execPath,
      [
        '-e',
        `require('node:net').createServer((s) => s.on('data', () => { s.write('{"ok":true,"result":{}}\\n'); setTimeout(() => process.exit(), 300) })).listen(${JSON.stringify(join(directory, 'dying.sock'))}, () => console.log('ready'))`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    await new Promise((resolve) => killed.stdout.once('data', resolve))
    const { code, stderr } = await new Started(directory, ['capture', 'dying', '-w', '-']).ended
    expect([code, stderr]).toEqual([
      75,
      expect.stringContaining('netd: the capture of dying broke off after 0 packets'),
    ])
  })
})
