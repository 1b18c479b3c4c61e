import { describe, expect, it } from 'vitest'
import { CommandError } from './command-error.ts'
import { printMessage } from './command-io.ts'
import type { CommandSpec } from './command-spec.ts'
import { dispatch } from './dispatch.ts'
import { memoryIo } from './memory-io.ts'
import type { Program } from './program.ts'

const greet: CommandSpec = {
  name: 'greet',
  summary: 'greets somebody',
  positionals: [{ name: 'NAME', required: true }],
  options: [{ name: 'loud', short: 'l', description: 'in capitals' }],
  examples: [['tool greet you', 'greets you']],
  notes: ['It means well.'],
  execute: async ({ flags, positionals }, io) => {
    const name = positionals[0] ?? ''
    if (name === 'nobody') throw new CommandError('device.gone', 'nobody is there')
    if (name === 'interrupted') throw io.signal.reason
    printMessage(io, io.color ? 'in colour' : 'plain')
    io.stdout.write(`hello ${flags.has('loud') ? name.toUpperCase() : name}\n`)
    return flags.has('json') ? 7 : 0
  },
}
const tool: Program = {
  name: 'tool',
  summary: 'a program for tests',
  commands: [greet, { ...greet, name: 'leave', summary: 'leaves' }],
  examples: [['tool greet you', 'a greeting']],
  version: () => '1.2.3',
  remedies: { 69: 'wake somebody' },
}
const single: Program = { ...tool, name: 'single', commands: [{ ...greet, name: '' }] }

async function run(program: Program, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { io, stdout, stderr } = memoryIo()
  const code = await dispatch(program, args, io)
  return { code, stdout: stdout(), stderr: stderr() }
}

describe('dispatch', () => {
  it('runs a command with its arguments, and global options from either side of its name', async () => {
    expect(await run(tool, 'greet', 'you', '-l')).toEqual({ code: 0, stdout: 'hello YOU\n', stderr: 'tool: plain\n' })
    expect((await run(tool, '--json', 'greet', 'you')).code).toBe(7)
    expect((await run(tool, 'greet', 'you', '--json')).code).toBe(7)
  })

  it('prints general help on stdout when asked, with every command', async () => {
    for (const args of [['--help'], ['-h'], ['help']]) {
      const { code, stdout, stderr } = await run(tool, ...args)
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toMatch(/^tool - a program for tests\n/)
      expect(stdout).toContain('Usage: tool COMMAND [OPTIONS]')
      expect(stdout).toContain('  greet NAME  greets somebody')
      expect(stdout).toContain('  leave NAME  leaves')
    }
  })

  it('prints the help of a command, from both spellings', async () => {
    const help = await run(tool, 'greet', '--help')
    expect(help.code).toBe(0)
    expect(help.stdout).toContain('Usage: tool greet NAME [OPTIONS]')
    expect(help.stdout).toContain('-l, --loud')
    expect(help.stdout).toContain('It means well.')
    expect(await run(tool, 'help', 'greet')).toEqual(help)
    expect(await run(tool, '--help', 'greet')).toEqual(help)
  })

  it('prints help on stderr, and fails, when nothing was asked', async () => {
    for (const program of [tool, single]) {
      const { code, stdout, stderr } = await run(program)
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(stderr).toContain(`Usage: ${program.name} `)
    }
  })

  it('prints the version', async () => {
    for (const args of [['--version'], ['-V'], ['greet', '--version']])
      expect((await run(tool, ...args)).stdout).toBe('tool 1.2.3\n')
    expect((await run(single, '-V')).stdout).toBe('single 1.2.3\n')
  })

  it('suggests what was probably meant', async () => {
    expect(await run(tool, 'gret')).toEqual({
      code: 2,
      stdout: '',
      stderr: 'tool: unknown command "gret"\n  did you mean tool greet?\n  fix: tool --help\n',
    })
    expect((await run(tool, 'dance')).stderr).toContain('commands are greet, leave')
    expect((await run(tool, 'greet', 'you', '--luod')).stderr).toBe(
      'tool: unknown option --luod for tool greet\n  did you mean --loud?\n  fix: tool greet --help\n',
    )
    expect((await run(tool, '--jsno', 'greet')).stderr).toContain('did you mean --json?')
  })

  it.each(['constructor', '__proto__', 'toString'])('has no command %s', async (name) => {
    expect((await run(tool, name)).code).toBe(2)
    expect((await run(tool, 'help', name)).code).toBe(2)
  })

  it('takes the whole command line for a program without command names', async () => {
    expect(await run(single, 'you', '--loud')).toEqual({ code: 0, stdout: 'hello YOU\n', stderr: 'single: plain\n' })
    expect((await run(single, '--help')).stdout).toContain('Usage: single NAME [OPTIONS]')
    expect((await run(single, '--lout', 'you')).stderr).toBe(
      'single: unknown option --lout\n  did you mean --loud?\n  fix: single --help\n',
    )
    expect((await run(single, '--loud')).stderr).toBe('single: single needs NAME\n  fix: single --help\n')
  })

  it('reports what a command throws, with the remedy of the program and the exit code', async () => {
    expect(await run(tool, 'greet', 'nobody')).toEqual({
      code: 69,
      stdout: '',
      stderr: 'tool: nobody is there\n  fix: wake somebody\n',
    })
  })

  it('ends quietly when what was thrown is why the user stopped it', async () => {
    const { io, stderr, abort } = memoryIo()
    abort()
    expect(await dispatch(tool, ['greet', 'interrupted'], io)).toBe(0)
    expect(stderr()).toBe('')
  })

  it('turns colour off when asked', async () => {
    const { io, stderr } = memoryIo({ color: true })
    await dispatch(tool, ['greet', 'you'], io)
    await dispatch(tool, ['greet', 'you', '--no-color'], io)
    expect(stderr()).toBe('tool: in colour\ntool: plain\n')
  })
})
