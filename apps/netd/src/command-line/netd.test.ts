import { dispatch } from '@virtio-ts/command-line'
import { memoryIo } from '@virtio-ts/command-line/memory-io'
import { describe, expect, it } from 'vitest'
import { commands } from './commands.ts'
import { netd } from './netd.ts'

async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { io, stdout, stderr } = memoryIo()
  const code = await dispatch(netd, args, io)
  return { code, stdout: stdout(), stderr: stderr() }
}

describe('netd', () => {
  it('prints help on stdout when asked', async () => {
    for (const args of [['--help'], ['-h'], ['help']]) {
      const { code, stdout, stderr } = await run(...args)
      expect(code).toBe(0)
      expect(stderr).toBe('')
      for (const { name } of commands) expect(stdout).toMatch(new RegExp(`^ {2}${name}\\b`, 'm'))
    }
  })

  it('lists no command that is not there yet', async () => {
    const { stdout } = await run('--help')
    expect(stdout).not.toMatch(/^ {2}bench\b/m)
  })

  it('prints help on stderr, and fails, when nothing was asked', async () => {
    const { code, stdout, stderr } = await run()
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain('Usage: netd COMMAND')
  })

  it.each(commands.map(({ name }) => name))('prints the help of %s, from both spellings', async (name) => {
    const { code, stdout } = await run(name, '--help')
    expect(code).toBe(0)
    expect(stdout).toContain(`Usage: netd ${name}`)
    expect(await run('help', name)).toEqual({ code, stdout, stderr: '' })
    for (const { name: option } of commands.find((command) => command.name === name)?.options ?? [])
      expect(stdout).toContain(`--${option}`)
  })

  it('prints the version', async () => {
    for (const args of [['--version'], ['-V'], ['run', '--version']]) {
      expect((await run(...args)).stdout).toMatch(/^netd \d+\.\d+\.\d+\n$/)
    }
  })

  it('suggests what was probably meant', async () => {
    const command = await run('shwo')
    expect(command).toEqual({
      code: 2,
      stdout: '',
      stderr: 'netd: unknown command "shwo"\n  did you mean netd show?\n  fix: netd --help\n',
    })
    const option = await run('run', 'model:net', '--mto', '1500')
    expect(option.code).toBe(2)
    expect(option.stderr).toBe(
      'netd: unknown option --mto for netd run\n  did you mean --mtu?\n  fix: netd run --help\n',
    )
    expect((await run('--jsno', 'show')).stderr).toContain('did you mean --json?')
  })

  it.each(['constructor', '__proto__', 'toString'])('has no command %s', async (name) => {
    expect((await run(name)).code).toBe(2)
  })

  it('answers 69 for a device that this version cannot open', async () => {
    const { code, stderr } = await run('run', 'model:rng')
    expect(code).toBe(69)
    expect(stderr).toContain('model:rng is not available in this version')
  })

  it('takes global options before the name of the command', async () => {
    const { code, stdout } = await run('--json', 'devices')
    expect(code).toBe(0)
    expect(Array.isArray(JSON.parse(stdout))).toBe(true)
  })
})
