import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isSessionName, prepareRuntimeDirectory, runtimeDirectory, socketPath } from './runtime-directory.ts'

let parent = ''
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'netd-runtime-'))
})
afterEach(() => {
  rmSync(parent, { recursive: true })
})

describe('runtimeDirectory', () => {
  it("is the one asked for, then the system's or the user's", () => {
    const env = { NETD_RUNTIME_DIR: '/x', XDG_RUNTIME_DIR: '/run/user/5' }
    expect(runtimeDirectory({ uid: 0, env })).toBe('/x')
    expect(runtimeDirectory({ uid: 0, env: { XDG_RUNTIME_DIR: '/run/user/5' } })).toBe('/run/netd')
    expect(runtimeDirectory({ uid: 5, env: { XDG_RUNTIME_DIR: '/run/user/5' } })).toBe('/run/user/5/netd')
    expect(runtimeDirectory({ uid: 5, env: { NETD_RUNTIME_DIR: '', XDG_RUNTIME_DIR: '' } })).toBe('/tmp/netd-5')
  })
})

describe('socketPath', () => {
  it.each(['vt0', 'eth0.100', '_a-b', 'A'.repeat(64)])('takes %s as a name', (name) => {
    expect(socketPath('/x', name)).toBe(`/x/${name}.sock`)
  })

  it.each(['', '.', '..', '../x', 'a/b', '.hidden', '-x', 'a b', 'a\u0000', 'ä', 'A'.repeat(65)])(
    'refuses %j',
    (name) => {
      expect(isSessionName(name)).toBe(false)
      expect(() => socketPath('/x', name)).toThrow(expect.objectContaining({ code: 'control.name' }))
    },
  )

  it('refuses a path that no Unix socket can have', () => {
    expect(socketPath(`/${'d'.repeat(97)}`, 'vt0')).toHaveLength(107)
    expect(() => socketPath(`/${'d'.repeat(98)}`, 'vt0')).toThrow(
      expect.objectContaining({ code: 'control.path-too-long', fix: expect.stringContaining('NETD_RUNTIME_DIR') }),
    )
  })
})

describe('prepareRuntimeDirectory', () => {
  const uid = process.getuid?.() ?? 0

  it('makes a directory for its user alone, and takes it again', () => {
    const directory = join(parent, 'a', 'b')
    prepareRuntimeDirectory(directory, uid)
    prepareRuntimeDirectory(directory, uid)
    expect(statSync(directory).mode & 0o777).toBe(0o700)
  })

  it("refuses what others may write to, what is somebody else's, and what is no directory", () => {
    const open = join(parent, 'open')
    mkdirSync(open)
    chmodSync(open, 0o777)
    expect(() => prepareRuntimeDirectory(open, uid)).toThrow(
      expect.objectContaining({ code: 'control.directory', why: [expect.stringContaining('others may write')] }),
    )
    expect(() => prepareRuntimeDirectory(parent, uid + 1)).toThrow(
      expect.objectContaining({ why: [`it belongs to user ${uid}`] }),
    )
    const link = join(parent, 'link')
    symlinkSync(tmpdir(), link)
    expect(() => prepareRuntimeDirectory(link, uid)).toThrow(
      expect.objectContaining({ why: ['it is a symbolic link, or not a directory'] }),
    )
    const file = join(parent, 'file')
    writeFileSync(file, '')
    expect(() => prepareRuntimeDirectory(file, uid)).toThrow(expect.objectContaining({ code: 'control.directory' }))
    expect(() => prepareRuntimeDirectory(join(file, 'x'), uid)).toThrow(
      expect.objectContaining({ code: 'control.directory' }),
    )
  })
})
