import { describe, expect, it } from 'vitest'
import { Errno } from './errno.ts'
import { errnoByName } from './libc.ts'
import { errnoName, SystemError } from './system-error.ts'

describe('errnoName', () => {
  it('names positive numbers and the negative ones of read and write', () => {
    expect(errnoName(1)).toBe('EPERM')
    expect(errnoName(-11)).toBe('EAGAIN')
    expect(errnoName(77)).toBe('EBADFD')
    expect(errnoName(95)).toBe('EOPNOTSUPP')
    expect(errnoName(61)).toBe('ENODATA')
  })

  it('has something to say about numbers without a name', () => {
    expect(errnoName(4242)).toBe('errno 4242')
    expect(errnoName(0)).toBe('errno 0')
  })
})

describe('Errno', () => {
  it('agrees with the C library', () => {
    for (const [name, value] of Object.entries(Errno))
      expect({ name, value: errnoByName[name] }).toEqual({ name, value })
  })
})

describe('SystemError', () => {
  it('says what failed, why, and what to do where that is known', () => {
    const error = new SystemError('eventfd', Errno.EMFILE)
    expect(error).toMatchObject({ name: 'SystemError', code: 'EMFILE', errno: 24, syscall: 'eventfd' })
    expect(error.message).toBe(
      'eventfd: EMFILE (Too many open files): this process has as many files open as it may; raise the limit with `ulimit -n`',
    )
  })
})
