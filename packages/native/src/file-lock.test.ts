import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { close, openFdCount } from './file-descriptor.ts'
import { lockFile } from './file-lock.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'native-'))
  path = join(folder, 'lock')
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('lockFile', () => {
  it('is had by one at a time, and leaves no descriptor behind where it is not had', () => {
    const before = openFdCount()
    const first = lockFile(path)
    expect(first).toBeTypeOf('number')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(lockFile(path)).toBeUndefined()
    close(first as number)
    const second = lockFile(path)
    expect(second).toBeTypeOf('number')
    close(second as number)
    expect(openFdCount()).toBe(before)
  })

  it('ends with the process that has it, however that ends', async () => {
    // util-linux's flock(1) holds it while its command runs; killed, both are gone.
    const holder = spawn('flock', ['--no-fork', path, 'sh', '-c', 'echo locked; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    await once(holder.stdout as NodeJS.ReadableStream, 'data')
    expect(lockFile(path)).toBeUndefined()
    holder.kill('SIGKILL')
    await once(holder, 'close')
    const fd = lockFile(path)
    expect(fd).toBeTypeOf('number')
    close(fd as number)
  })

  it('follows no symbolic link, and says what is wrong', () => {
    symlinkSync('/etc/passwd', path)
    expect(() => lockFile(path)).toThrow(expect.objectContaining({ code: 'ELOOP', syscall: 'open' }))
    expect(() => lockFile(join(folder, 'missing', 'lock'))).toThrow(expect.objectContaining({ code: 'ENOENT' }))
  })
})
