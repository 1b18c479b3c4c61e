import { VirtioError } from '@virtio-ts/spec'
import { describe, expect, it } from 'vitest'
import { errorReport } from './error-report.ts'
import { NetdError } from './netd-error.ts'

describe('errorReport', () => {
  it('says what, why and what to do', () => {
    const error = new NetdError('usage.x', 'unknown command "shwo"', {
      why: 'did you mean netd show?',
      fix: 'netd --help',
    })
    expect(errorReport(error)).toBe('netd: unknown command "shwo"\n  did you mean netd show?\n  fix: netd --help\n')
  })

  it('adds the causes, once each', () => {
    const bottom = Object.assign(new Error('ioctl(TUNSETIFF): EBUSY'), { code: 'EBUSY' })
    const middle = Object.assign(new Error('vt0 is in use', { cause: bottom }), { code: 'tap.busy' })
    const error = new NetdError('tap.open', 'cannot create vt0: vt0 is in use', { cause: middle, fix: '--tap vt1' })
    expect(errorReport(error)).toBe(
      'netd: cannot create vt0: vt0 is in use\n  ioctl(TUNSETIFF): EBUSY\n  fix: --tap vt1\n',
    )
  })

  it('takes the reason and the remedy of other layers from the lines of their messages', () => {
    const error = new VirtioError('device.gone', 'the device is gone\nQEMU ended\n  fix: start QEMU again')
    expect(errorReport(error)).toBe('netd: the device is gone\n  QEMU ended\n  fix: start QEMU again\n')
  })

  it('knows what to do about a refused permission', () => {
    const error = Object.assign(new Error('cannot make vt0'), { code: 'tap.permission' })
    expect(errorReport(error)).toMatch(/^netd: cannot make vt0\n {2}fix: run it as root/)
  })

  it('shows where an error without a code came from', () => {
    expect(errorReport(new TypeError('x is not a function'))).toMatch(
      /^netd: x is not a function\n {2}at .*error-report\.test\.ts/,
    )
    expect(errorReport(new TypeError('x'))).toContain('fix: this is a bug')
  })

  it('lets no control character through to the terminal', () => {
    const report = errorReport(new NetdError('x', 'bad \u001b]0;owned\u0007 name', { why: 'a\u009bb\rc' }))
    expect(report).toBe('netd: bad ?]0;owned? name\n  a?b?c\n')
  })

  it.each([[undefined], ['text'], [42]])('reports %j, which is no error', (thrown) => {
    expect(errorReport(thrown)).toContain(`netd: ${String(thrown)}\n`)
  })
})
