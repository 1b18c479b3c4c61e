import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { lock, thisHost, usersOf } from './takeover-host.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'netd-host-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('usersOf', () => {
  it('finds who has a file open, and passes over what it may not look into', () => {
    for (const [pid, program, target] of [
      ['17', 'sh', '/dev/null'],
      ['4711', 'dpdk-testpmd', '/dev/vfio/7'],
      ['self', 'netd', '/dev/vfio/7'],
    ] as const) {
      mkdirSync(join(folder, pid, 'fd'), { recursive: true })
      writeFileSync(join(folder, pid, 'comm'), `${program}\n`)
      symlinkSync('/dev/null', join(folder, pid, 'fd/0'))
      symlinkSync(target, join(folder, pid, 'fd/3'))
    }
    mkdirSync(join(folder, '18'))
    expect(usersOf(['/dev/vfio/7', '/dev/vfio/8'], folder)).toEqual([
      { pid: 4711, program: 'dpdk-testpmd', path: '/dev/vfio/7' },
    ])
    expect(usersOf(['/dev/vfio/77'], folder)).toEqual([])
    expect(usersOf(['/dev/vfio/7'], join(folder, 'missing'))).toEqual([])
  })
})

describe('lock', () => {
  it('says who has it, and leaves nothing behind but an empty file', () => {
    const path = join(folder, 'x.lock')
    const unlock = lock(path, 'netd run vfio:0000:00:04.0')
    expect(lock(path, 'another')).toBe(`pid ${process.pid}: netd run vfio:0000:00:04.0`)
    expect(unlock).toBeTypeOf('function')
    ;(unlock as () => void)()
    expect(readFileSync(path, 'utf8')).toBe('')
    ;(lock(path, 'another') as () => void)()
  })
})

describe('thisHost', () => {
  it('tells what may be written without writing it', () => {
    expect(thisHost().whyNotWritable('bus/pci/devices/none/driver_override')).toBe('ENOENT')
  })
})
