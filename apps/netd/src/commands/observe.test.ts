import { dispatch } from '@virtio-ts/command-line'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { PcapngScanner } from '../capture/pcapng-scanner.ts'
import type { CaptureArguments } from '../command-line/capture-arguments.ts'
import { memoryIo } from '@virtio-ts/command-line/memory-io'
import { netd } from '../command-line/netd.ts'
import { ControlServer } from '../control/control-server.ts'
import { arpFrame, FakeSession } from '../control/fake-session.fixture.ts'
import { capture } from './capture.ts'
import { show } from './show.ts'
import { stats } from './stats.ts'

let directory = ''
let session: FakeSession
let server: ControlServer
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'netd-observe-'))
  session = new FakeSession()
  server = await ControlServer.start({ name: 'vt0', observable: session, directory })
})
afterEach(async () => {
  await server.close()
  rmSync(directory, { recursive: true })
})

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
}

function scanned(bytes: Buffer): PcapngScanner {
  const scanner = new PcapngScanner()
  scanner.push(bytes)
  return scanner
}

describe('netd show', () => {
  it('prints the tree of one, or of all', async () => {
    const other = await ControlServer.start({ name: 'vt1', observable: session, directory })
    const one = memoryIo()
    expect(await show({ name: 'vt0', json: false }, one.io, directory)).toBe(0)
    expect(one.stdout()).toMatch(
      /^vt0 {2}running, pid \d+, since .*\nqemu 0000:00:01\.0 {2}1af4:1041 {2}virtio-net \(modern\)\n└─ VirtioPciDriver/,
    )
    const all = memoryIo()
    expect(await show({ name: undefined, json: false }, all.io, directory)).toBe(0)
    expect(all.stdout().match(/^vt\d/gm)).toEqual(['vt0', 'vt1'])
    await other.close()
  })

  it('prints JSON: an object with a name, an array without', async () => {
    const one = memoryIo()
    await show({ name: 'vt0', json: true }, one.io, directory)
    expect(JSON.parse(one.stdout())).toMatchObject({ name: 'vt0', net: { mac: '52:54:00:12:34:56' } })
    const all = memoryIo()
    await show({ name: undefined, json: true }, all.io, directory)
    expect(JSON.parse(all.stdout())).toMatchObject([{ name: 'vt0' }])
  })

  it('is content when nobody runs, but not when one was asked for', async () => {
    const empty = join(directory, 'empty')
    const { io, stdout, stderr } = memoryIo()
    expect(await show({ name: undefined, json: false }, io, empty)).toBe(0)
    expect([stdout(), stderr()]).toEqual(['', 'netd: no netd of this user is running; those of root need sudo\n'])
    const json = memoryIo()
    expect(await show({ name: undefined, json: true }, json.io, empty)).toBe(0)
    expect(json.stdout()).toBe('[]\n')
    await expect(show({ name: 'vt0', json: false }, io, empty)).rejects.toMatchObject({ code: 'control.no-session' })
  })
})

describe('netd stats', () => {
  it('prints counters once', async () => {
    const { io, stdout } = memoryIo()
    expect(await stats({ name: 'vt0', watch: false, json: false }, io, directory)).toBe(0)
    expect(stdout()).toBe('vt0\n  rx_packets:  10\n  tx_packets:   7\n')
  })

  it('prints JSON: an object with a name, an array without', async () => {
    const one = memoryIo()
    await stats({ name: 'vt0', watch: false, json: true }, one.io, directory)
    expect(JSON.parse(one.stdout())).toEqual({
      name: 'vt0',
      time: expect.any(Number),
      counters: { rx_packets: 10, tx_packets: 7 },
    })
    const all = memoryIo()
    await stats({ name: undefined, watch: false, json: true }, all.io, directory)
    expect(JSON.parse(all.stdout())).toMatchObject([{ name: 'vt0', counters: { rx_packets: 20 } }])
  })

  it('watches, with rates, until interrupted', async () => {
    const { io, stdout, abort } = memoryIo()
    session.counters['tx_in_flight'] = 3
    const watching = stats({ name: 'vt0', watch: true, json: false }, io, directory)
    await until(() => stdout().split('vt0').length > 2)
    abort()
    await expect(watching).rejects.toMatchObject({ name: 'AbortError' })
    expect(stdout()).toMatch(
      /^vt0\n {2}rx_packets: {4}10\n {2}tx_packets: {5}7\n {2}tx_in_flight: {3}3\nvt0\n {2}rx_packets: {4}20 {2} ?\d+\/s\n {2}tx_packets: {5}7 {2} ?0\/s\n {2}tx_in_flight: {3}3\n/,
    )
  })

  it('watches as lines of JSON', async () => {
    const { io, stdout, abort } = memoryIo()
    const watching = stats({ name: undefined, watch: true, json: true }, io, directory)
    await until(() => stdout().split('\n').length > 2)
    abort()
    await expect(watching).rejects.toMatchObject({ name: 'AbortError' })
    const lines = stdout()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.map(({ counters }) => counters.rx_packets)).toEqual([10, 20])
  })

  it('fails when what it watches goes away', async () => {
    const { io, stdout } = memoryIo()
    const watching = stats({ name: 'vt0', watch: true, json: false }, io, directory)
    await until(() => stdout() !== '')
    await Promise.all([expect(watching).rejects.toMatchObject({ code: 'control.ended' }), server.close()])
  })

  it('fails when nobody runs', async () => {
    const { io } = memoryIo()
    await expect(
      stats({ name: undefined, watch: false, json: false }, io, join(directory, 'empty')),
    ).rejects.toMatchObject({ code: 'control.no-session' })
  })
})

describe('netd capture', () => {
  const arguments_ = (changes: Partial<CaptureArguments>): CaptureArguments => ({
    name: 'vt0',
    file: '-',
    count: undefined,
    snaplen: undefined,
    json: false,
    ...changes,
  })

  it('writes to stdout, and says how much on stderr', async () => {
    const { io, stderr } = memoryIo()
    const chunks: Buffer[] = []
    io.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    const capturing = capture(arguments_({ count: 2 }), io, directory)
    await until(() => session.taps.size === 1)
    session.packet('rx', arpFrame)
    session.packet('tx', arpFrame)
    expect(await capturing).toBe(0)
    expect(scanned(Buffer.concat(chunks))).toMatchObject({ packets: 2, complete: true })
    expect(stderr()).toBe('netd: capturing vt0; Ctrl-C ends it\nnetd: 2 packets captured, 0 dropped\n')
  })

  it('writes to a file until interrupted, whole', async () => {
    const file = join(directory, 'x.pcapng')
    const { io, stdout, abort } = memoryIo()
    const capturing = capture(arguments_({ file, json: true }), io, directory)
    await until(() => session.taps.size === 1)
    session.packet('rx', arpFrame)
    abort()
    expect(await capturing).toBe(0)
    expect(scanned(readFileSync(file))).toMatchObject({ packets: 1, complete: true })
    expect(JSON.parse(stdout())).toEqual({ name: 'vt0', file, packets: 1, dropped: 0 })
  })

  it('ends well when its netd stops', async () => {
    const { io, stderr } = memoryIo()
    const capturing = capture(arguments_({}), io, directory)
    await until(() => session.taps.size === 1)
    session.packet('rx', arpFrame)
    await server.close()
    expect(await capturing).toBe(0)
    expect(stderr()).toContain('1 packet captured, 0 dropped')
  })

  it('says so when its netd goes away without ending it', async () => {
    const dying = createServer((socket) => socket.once('data', () => socket.end('{"ok":true,"result":{}}\n')))
    await new Promise<void>((resolve) => dying.listen(join(directory, 'dying.sock'), resolve))
    const { io } = memoryIo()
    const capturing = capture(arguments_({ name: 'dying' }), io, directory)
    await expect(capturing).rejects.toMatchObject({
      code: 'control.ended',
      message: 'the capture of dying broke off after 0 packets',
    })
    await new Promise((resolve) => dying.close(resolve))
  })

  it('ends quietly when its reader goes away', async () => {
    const { io } = memoryIo()
    const broken = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error('broken pipe'), { code: 'EPIPE' })),
    })
    const capturing = capture(arguments_({}), { ...io, stdout: broken }, directory)
    expect(await capturing).toBe(0)
    await until(() => session.taps.size === 0)
  })

  it('says so when the file cannot take it', async () => {
    const { io, abort } = memoryIo()
    const full = capture(arguments_({ file: '/dev/full' }), io, directory)
    await expect(full).rejects.toMatchObject({
      code: 'capture.output',
      message: 'cannot write the capture to /dev/full',
    })
    await expect(capture(arguments_({ file: join(directory, 'no', 'x') }), io, directory)).rejects.toMatchObject({
      code: 'capture.output',
    })
    abort()
  })

  it('leaves no file behind for a netd that is not there', async () => {
    const file = join(directory, 'x.pcapng')
    const { io } = memoryIo()
    await expect(capture(arguments_({ name: 'vt9', file }), io, directory)).rejects.toMatchObject({
      code: 'control.no-session',
    })
    expect(() => readFileSync(file)).toThrow('ENOENT')
  })

  it('does not write to a terminal', async () => {
    const { io } = memoryIo()
    const terminal = Object.assign(new Writable({ write: (_chunk, _encoding, done) => done() }), { isTTY: true })
    await expect(capture(arguments_({}), { ...io, stdout: terminal }, directory)).rejects.toMatchObject({
      code: 'usage.terminal',
    })
  })

  it('gives up waiting for the reader of a FIFO when interrupted', async () => {
    const file = join(directory, 'fifo')
    execFileSync('mkfifo', [file])
    process.env['NETD_RUNTIME_DIR'] = directory
    const { io, abort, stderr } = memoryIo()
    const capturing = dispatch(netd, ['capture', 'vt0', '-w', file], io)
    setTimeout(() => abort(), 50)
    expect(await capturing).toBe(0)
    expect(stderr()).toBe('')
    delete process.env['NETD_RUNTIME_DIR']
  })
})
