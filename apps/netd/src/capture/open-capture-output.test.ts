import { execFileSync } from 'node:child_process'
import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { finished } from 'node:stream/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openCaptureOutput } from './open-capture-output.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'netd-output-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true })
})

const never = new AbortController().signal

describe('openCaptureOutput', () => {
  it('replaces a file', async () => {
    const path = join(directory, 'x')
    writeFileSync(path, 'a long text that was there before')
    await finished((await openCaptureOutput(path, never)).end('new'))
    expect(readFileSync(path, 'utf8')).toBe('new')
  })

  it('waits for the reader of a FIFO', async () => {
    const path = join(directory, 'fifo')
    execFileSync('mkfifo', [path])
    const opening = openCaptureOutput(path, never)
    const reading = text(createReadStream(path))
    ;(await opening).end('through the pipe')
    expect(await reading).toBe('through the pipe')
  })

  it('gives up waiting for a reader when aborted', async () => {
    const path = join(directory, 'fifo')
    execFileSync('mkfifo', [path])
    const controller = new AbortController()
    const opening = openCaptureOutput(path, controller.signal)
    controller.abort('SIGINT')
    await expect(opening).rejects.toMatchObject({ name: 'AbortError' })
  })

  it('says what cannot be written to', async () => {
    const path = join(directory, 'missing', 'x')
    await expect(openCaptureOutput(path, never)).rejects.toMatchObject({
      code: 'capture.output',
      message: expect.stringContaining(path),
    })
    await expect(openCaptureOutput(directory, never)).rejects.toMatchObject({ code: 'capture.output' })
  })
})
