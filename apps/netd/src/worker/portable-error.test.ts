import { CommandError, errorReport, exitCodeOf } from '@virtio-ts/command-line'
import { VirtioError } from '@virtio-ts/spec'
import { expect, it } from 'vitest'
import { netd } from '../command-line/netd.ts'
import { portableError, revivedError } from './portable-error.ts'

const errno = Object.assign(new Error('open(/dev/net/tun): EACCES'), { code: 'EACCES' })

it.each([
  ['of netd itself', new CommandError('locator.option', 'what', { why: ['why', 'and why'], fix: 'what to do' })],
  ['of another layer', new VirtioError('device.gone', 'the device is gone', { device: 'model' })],
  ['with a cause', new CommandError('tap.failed', 'no TAP', { cause: errno })],
  ['without a code', new TypeError('a bug')],
  ['that is none', 'only text'],
])('an error %s is reported the same in another thread, and gives the same exit code', (_, error) => {
  const revived = revivedError(structuredClone(portableError(error)))
  expect(errorReport(netd, revived)).toBe(errorReport(netd, error instanceof Error ? error : revived))
  expect(exitCodeOf(revived)).toBe(exitCodeOf(error))
  expect(revived.message).toBe(error instanceof Error ? error.message : error)
})

it('a chain of causes that bites its tail has an end', () => {
  const error = new Error('a')
  error.cause = error
  expect(revivedError(portableError(error)).message).toBe('a')
})
