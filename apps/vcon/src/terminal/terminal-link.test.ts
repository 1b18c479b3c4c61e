import { existsSync, mkdtempSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TerminalLink } from './terminal-link.ts'

describe('TerminalLink', () => {
  let folder: string
  let path: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-link-'))
    path = join(folder, 'con0')
  })

  afterEach(() => rmSync(folder, { recursive: true }))

  it('is there until it is removed', () => {
    const listeners = process.listenerCount('exit')
    const link = new TerminalLink(path, '/dev/null')
    expect(readlinkSync(path)).toBe('/dev/null')
    link.remove()
    link.remove()
    expect(existsSync(path)).toBe(false)
    expect(process.listenerCount('exit')).toBe(listeners)
  })

  it('replaces a link that leads nowhere, or here already', () => {
    for (const old of [join(folder, 'gone'), '/dev/null']) {
      symlinkSync(old, path)
      const link = new TerminalLink(path, '/dev/null')
      expect(readlinkSync(path)).toBe('/dev/null')
      link.remove()
    }
  })

  it('does not replace a link that leads elsewhere, or anything else', () => {
    symlinkSync('/dev/zero', path)
    const refuse = (): void => void new TerminalLink(path, '/dev/null')
    expect(refuse).toThrow(expect.objectContaining({ code: 'link.exists', fix: expect.stringContaining(`rm ${path}`) }))
    expect(readlinkSync(path)).toBe('/dev/zero')
    rmSync(path)
    writeFileSync(path, 'mine')
    expect(refuse).toThrow(expect.objectContaining({ code: 'link.exists', fix: 'another path' }))
    expect(() => new TerminalLink(join(folder, 'no', 'folder'), '/dev/null')).toThrow(
      expect.objectContaining({ code: 'link.failed' }),
    )
  })

  it('leaves alone what has taken its place', () => {
    const link = new TerminalLink(path, '/dev/null')
    rmSync(path)
    symlinkSync('/dev/zero', path)
    link.remove()
    expect(readlinkSync(path)).toBe('/dev/zero')
  })
})
