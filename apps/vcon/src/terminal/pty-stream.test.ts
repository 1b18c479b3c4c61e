import {
  close,
  Errno,
  openFdCount,
  openTerminal,
  read,
  setBlocking,
  terminalModes,
  windowSize,
  write,
} from '@virtio-ts/native'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { PtyStream } from './pty-stream.ts'

describe('PtyStream', () => {
  let stream: PtyStream

  beforeEach(() => {
    stream = new PtyStream()
  })

  afterEach(() => stream.destroy())

  it('carries bytes both ways, and says when somebody comes and goes', async () => {
    stream.write('early ')
    for (let round = 0; round < 3; round++) {
      const opened = once(stream, 'opened')
      const terminal = openTerminal(stream.path)
      await opened
      expect(stream.inUse).toBe(true)
      await new Promise<void>((resolve) => stream.write('words', () => resolve()))
      const expected = `${round === 0 ? 'early ' : ''}words`
      // The terminal gets what was written in one piece or in several.
      const into = new Uint8Array(expected.length)
      for (let got = 0; got < into.length; ) got += read(terminal, into.subarray(got))
      expect(Buffer.from(into).toString()).toBe(expected)
      const said = once(stream, 'data')
      write(terminal, Buffer.from('answer\r\n'))
      expect(String(await said)).toBe('answer\r\n')
      const left = once(stream, 'left')
      close(terminal)
      await left
    }
  })

  it('holds what is written while nobody has the terminal open', async () => {
    let written = false
    stream.write('x', () => (written = true))
    await new Promise((resolve) => setTimeout(resolve, 120))
    expect(written).toBe(false)
  })

  it('takes no more than somebody reads', async () => {
    const terminal = openTerminal(stream.path)
    setBlocking(terminal, false)
    await once(stream, 'opened')
    const length = 1_000_000
    let written = false
    stream.write(Buffer.alloc(length, 'y'), () => (written = true))
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(written).toBe(false)
    const into = new Uint8Array(65536)
    for (let got = 0; got < length; ) {
      const count = read(terminal, into)
      if (count > 0) got += count
      else {
        expect(count).toBe(-Errno.EAGAIN)
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    }
    expect(read(terminal, into)).toBe(-Errno.EAGAIN)
    close(terminal)
  })

  it('has the size it is told', () => {
    const terminal = openTerminal(stream.path)
    stream.resize({ columns: 90, rows: 30 })
    expect(windowSize(terminal)).toEqual({ columns: 90, rows: 30 })
    close(terminal)
  })

  it('begins raw', () => {
    const terminal = openTerminal(stream.path)
    // ICANON and ECHO in c_lflag, OPOST in c_oflag
    const modes = new DataView(terminalModes(terminal)!.buffer)
    expect(modes.getUint32(12, true) & 0o12).toBe(0)
    expect(modes.getUint32(4, true) & 1).toBe(0)
    close(terminal)
  })

  it('leaves nothing behind when it is destroyed in the middle', async () => {
    const before = openFdCount()
    const other = new PtyStream()
    const terminal = openTerminal(other.path)
    await once(other, 'opened')
    other.resume()
    other.write(Buffer.alloc(1_000_000))
    await new Promise((resolve) => setTimeout(resolve, 20))
    other.destroy()
    await once(other, 'close')
    close(terminal)
    expect(openFdCount()).toBe(before)
  })
})
