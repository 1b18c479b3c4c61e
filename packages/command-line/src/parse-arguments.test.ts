import { describe, expect, it } from 'vitest'
import type { CommandSpec } from './command-spec.ts'
import type { CommandError } from './command-error.ts'
import { parseArguments } from './parse-arguments.ts'

const command: CommandSpec = {
  name: 'try',
  summary: '',
  positionals: [
    { name: 'NAME', required: true },
    { name: 'OTHER', required: false },
  ],
  options: [
    { name: 'write', short: 'w', value: 'FILE', description: '' },
    { name: 'features', value: '-NAME', description: '' },
    { name: 'poll', short: 'p', description: '' },
  ],
  examples: [],
  execute: async () => 0,
}

function failure(...args: string[]): CommandError {
  try {
    parseArguments('netd', command, args)
  } catch (error) {
    return error as CommandError
  }
  throw new Error(`accepted: ${args.join(' ')}`)
}

describe('parseArguments', () => {
  it('reads flags, values and positionals in any order', () => {
    const { flags, values, positionals } = parseArguments('netd', command, ['-p', 'a', '--write=x', '--json', 'b'])
    expect([...flags]).toEqual(['poll', 'json'])
    expect([...values]).toEqual([['write', 'x']])
    expect(positionals).toEqual(['a', 'b'])
  })

  it('lets a value begin with a dash, and be one', () => {
    const { values } = parseArguments('netd', command, ['a', '--features', '-CSUM,-MAC', '-w', '-'])
    expect(values.get('features')).toBe('-CSUM,-MAC')
    expect(values.get('write')).toBe('-')
  })

  it('takes everything behind -- as an argument', () => {
    expect(parseArguments('netd', command, ['--', '--write', '-p']).positionals).toEqual(['--write', '-p'])
  })

  it.each([
    [['a', '--wriet', 'x'], 'usage.unknown-option', /did you mean --write/],
    [['a', '--zzz'], 'usage.unknown-option', /^$/],
    [['a', '-x'], 'usage.unknown-option', /^$/],
    [['a', '--__proto__'], 'usage.unknown-option', /^$/],
    [['a', '--write'], 'usage.missing-value', /^$/],
    [['a', '--write='], 'usage.missing-value', /^$/],
    [['a', '--write', '--json'], 'usage.missing-value', /^$/],
    [['a', '-w', '-p'], 'usage.missing-value', /^$/],
    [['a', '--poll=yes'], 'usage.unexpected-value', /^$/],
    [['a', '-w', 'x', '--write', 'y'], 'usage.repeated-option', /^$/],
    [[], 'usage.missing-argument', /^$/],
    [['a', 'b', 'c'], 'usage.extra-argument', /^$/],
  ] as const)('refuses %j as %s', (args, code, why) => {
    const error = failure(...args)
    expect(error.code).toBe(code)
    expect(error.why.join()).toMatch(why)
    expect(error.fix).toBe('netd try --help')
  })

  it('does not ask for arguments where help or the version is wanted', () => {
    expect(parseArguments('netd', command, ['--help']).flags.has('help')).toBe(true)
    expect(parseArguments('netd', command, ['-V']).flags.has('version')).toBe(true)
  })
})
