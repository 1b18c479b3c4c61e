import { execFileSync } from 'node:child_process'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runSource } from '../test/run-source.ts'
import { close, open, read, write } from './file-descriptor.ts'
import { openPty, openTerminal, type Pty } from './pty.ts'
import { rawModes, setTerminalModes, setWindowSize, terminalModes, windowSize } from './terminal.ts'

describe('terminals', () => {
  let pty: Pty
  let terminal: number

  beforeEach(() => {
    pty = openPty()
    terminal = openTerminal(pty.path)
  })

  afterEach(() => {
    close(terminal)
    close(pty.fd)
  })

  /** What stty(1) makes of the terminal: somebody else's reading of the same structure. */
  const stty = (...args: string[]): string =>
    execFileSync('stty', args, { stdio: [terminal, 'pipe', 'inherit'], encoding: 'utf8' })

  it('raw modes are those that stty calls raw, and can be put back', () => {
    const before = terminalModes(terminal)!
    const said = stty('-g')
    expect(stty('-a')).toMatch(/ icanon .* echo /s)
    setTerminalModes(terminal, rawModes(before))
    const ours = stty('-a')
    expect(ours).toMatch(/-isig -icanon -iexten -echo .*-echonl/s)
    expect(ours).toMatch(/-icrnl -ixon/)
    expect(ours).toMatch(/-opost/)
    expect(ours).toMatch(/cs8/)
    expect(ours).toMatch(/min = 1; time = 0/)
    setTerminalModes(terminal, before)
    expect(stty('-g')).toBe(said)
    expect(terminalModes(terminal)).toEqual(before)
  })

  it('in raw mode a byte comes at once, whatever it is, and is not echoed', () => {
    setTerminalModes(pty.fd, rawModes(terminalModes(pty.fd)!))
    const all = Uint8Array.from({ length: 256 }, (_, byte) => byte)
    write(pty.fd, all)
    const into = new Uint8Array(300)
    expect(read(terminal, into)).toBe(256)
    expect(into.subarray(0, 256)).toEqual(all)
    write(terminal, all)
    expect(read(pty.fd, into)).toBe(256)
    expect(into.subarray(0, 256)).toEqual(all)
  })

  it('modes through the other end are the same', () => {
    const raw = rawModes(terminalModes(pty.fd)!)
    setTerminalModes(pty.fd, raw)
    expect(terminalModes(terminal)).toEqual(raw)
  })

  it('refuses modes that are none', () => {
    expect(() => setTerminalModes(terminal, new Uint8Array(35))).toThrow(RangeError)
  })

  it('what is no terminal has no modes', () => {
    const file = open('/dev/null', 0)
    expect(terminalModes(file)).toBeUndefined()
    expect(() => windowSize(file)).toThrow(expect.objectContaining({ code: 'ENOTTY' }))
    close(file)
    expect(() => terminalModes(file)).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })

  it('has a size, which both ends see', () => {
    expect(windowSize(terminal)).toEqual({ columns: 0, rows: 0 })
    setWindowSize(pty.fd, { columns: 132, rows: 43 })
    expect(windowSize(terminal)).toEqual({ columns: 132, rows: 43 })
    expect(stty('size')).toBe('43 132\n')
    expect(() => setWindowSize(pty.fd, { columns: 65536, rows: 1 })).toThrow(RangeError)
  })

  it('does not become the terminal that controls a process which has none', async () => {
    // The seventh field of stat(5): 0 for none.
    const child = await runSource(
      `import { readFileSync } from 'node:fs'
      import { openPty, openTerminal } from '@virtio-ts/native'
      const controlling = () => readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ')[4]
      const before = controlling()
      openTerminal(openPty().path)
      process.stdout.write(before + ' ' + controlling())`,
      { ownSession: true },
    )
    expect(child).toMatchObject({ status: 0, stdout: '0 0', stderr: '' })
  })
})
