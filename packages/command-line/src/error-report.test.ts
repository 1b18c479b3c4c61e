import { VirtioError } from '@virtio-ts/spec'
import { describe, expect, it } from 'vitest'
import { errorReport } from './error-report.ts'
import { CommandError } from './command-error.ts'

const netd = { name: 'netd', remedies: { 77: 'run it as root' } } as const

function report(error: unknown): string {
  return errorReport(netd, error)
}

describe('errorReport', () => {
  it('says what, why and what to do', () => {
    const error = new CommandError('usage.x', 'unknown command "shwo"', {
      why: 'did you mean netd show?',
      fix: 'netd --help',
    })
    expect(report(error)).toBe('netd: unknown command "shwo"\n  did you mean netd show?\n  fix: netd --help\n')
  })

  it('adds the causes, once each', () => {
    const bottom = Object.assign(new Error('ioctl(TUNSETIFF): EBUSY'), { code: 'EBUSY' })
    const middle = Object.assign(new Error('vt0 is in use', { cause: bottom }), { code: 'tap.busy' })
    const error = new CommandError('tap.open', 'cannot create vt0: vt0 is in use', { cause: middle, fix: '--tap vt1' })
    expect(report(error)).toBe('netd: cannot create vt0: vt0 is in use\n  ioctl(TUNSETIFF): EBUSY\n  fix: --tap vt1\n')
  })

  it('takes the reason and the remedy of other layers from the lines of their messages', () => {
    const error = new VirtioError('device.gone', 'the device is gone\nQEMU ended\n  fix: start QEMU again')
    expect(report(error)).toBe('netd: the device is gone\n  QEMU ended\n  fix: start QEMU again\n')
  })

  it('knows what to do about a refused permission', () => {
    const error = Object.assign(new Error('cannot make vt0'), { code: 'tap.permission' })
    expect(report(error)).toMatch(/^netd: cannot make vt0\n {2}fix: run it as root/)
  })

  it('points to the help for a mistake that does not say what to do', () => {
    expect(report(new CommandError('usage.x', 'bad'))).toBe('netd: bad\n  fix: netd --help\n')
  })

  it('shows where an error without a code came from', () => {
    expect(report(new TypeError('x is not a function'))).toMatch(
      /^netd: x is not a function\n {2}at .*error-report\.test\.ts/,
    )
    expect(report(new TypeError('x'))).toContain('fix: this is a bug')
  })

  it('lets no control character through to the terminal', () => {
    const text = report(new CommandError('x', 'bad \u001b]0;owned\u0007 name', { why: 'a\u009bb\rc' }))
    expect(text).toBe('netd: bad ?]0;owned? name\n  a?b?c\n')
  })

  it.each([[undefined], ['text'], [42]])('reports %j, which is no error', (thrown) => {
    expect(report(thrown)).toContain(`netd: ${String(thrown)}\n`)
  })
})
