import { describe, expect, it } from 'vitest'
import { Errno } from './errno.ts'
import { close, openFdCount, read, write } from './file-descriptor.ts'
import { PollEvent, poll } from './poll.ts'
import { openPty, openTerminal } from './pty.ts'
import { rawModes, setTerminalModes, terminalModes } from './terminal.ts'

const text = (from: number): string => {
  const into = new Uint8Array(64)
  const count = read(from, into)
  return count < 0 ? String(count) : Buffer.from(into.subarray(0, count)).toString()
}

describe('openPty', () => {
  it('what one end writes the other one reads', () => {
    const { fd, path } = openPty()
    const terminal = openTerminal(path)
    expect(path).toMatch(/^\/dev\/pts\/\d+$/)
    setTerminalModes(fd, rawModes(terminalModes(fd)!))
    write(fd, Buffer.from('to the terminal\r\x03'))
    expect(text(terminal)).toBe('to the terminal\r\x03')
    write(terminal, Buffer.from('from it\n'))
    expect(text(fd)).toBe('from it\n')
    close(terminal)
    close(fd)
  })

  it('is not blocking, and gives a terminal each time', () => {
    const [one, other] = [openPty(), openPty()]
    expect(one.path).not.toBe(other.path)
    const terminal = openTerminal(one.path)
    expect(read(one.fd, new Uint8Array(1))).toBe(-Errno.EAGAIN)
    for (const fd of [terminal, one.fd, other.fd]) close(fd)
  })

  it('says when nobody has the terminal open, after what was written to it', () => {
    const { fd, path } = openPty()
    expect(poll(fd, PollEvent.IN, 0)).toBe(PollEvent.HUP)
    expect(read(fd, new Uint8Array(1))).toBe(-Errno.EIO)
    for (let round = 0; round < 3; round++) {
      const terminal = openTerminal(path)
      expect(poll(fd, PollEvent.IN, 0)).toBe(0)
      write(terminal, Buffer.from('last words'))
      close(terminal)
      expect(poll(fd, PollEvent.IN, 1000) & PollEvent.HUP).toBe(PollEvent.HUP)
      expect(text(fd)).toBe('last words')
      expect(read(fd, new Uint8Array(1))).toBe(-Errno.EIO)
    }
    close(fd)
  })

  it('leaves no descriptor behind', () => {
    const before = openFdCount()
    close(openPty().fd)
    expect(openFdCount()).toBe(before)
  })
})
