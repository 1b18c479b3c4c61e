import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { requirement } from '../../../test/requirements.ts'
import { findExecutable } from './find-executable.ts'
import { inChild } from './in-child.fixture.ts'
import { describeExit, lastWords, QemuProcess } from './qemu-process.ts'
import { alive, until } from './raw-virtio.fixture.ts'

const START = `const bench = await QemuBench.start({ devices: ['virtio-rng-pci'] })\n`

requirement('qemu')('QEMU and the process that started it', () => {
  it('SIGKILL of the parent ends QEMU', async () => {
    const child = inChild(`${START} console.log(bench.pid); setInterval(() => {}, 1000)`)
    const pid = Number(await child.line())
    expect(alive(pid)).toBe(true)
    child.process.kill('SIGKILL')
    await until(() => !alive(pid))
  })

  it('process.exit() without close() ends QEMU', async () => {
    const child = inChild(`${START} process.stdout.write(bench.pid + '\\n', () => process.exit(3))`)
    const pid = Number(await child.line())
    await once(child.process, 'exit')
    expect(child.process.exitCode).toBe(3)
    await until(() => !alive(pid))
  })

  it('process.exit() ends QEMU on a machine without setpriv, too', async () => {
    const child = inChild(`
      const binary = ${JSON.stringify(findExecutable('qemu-system-x86_64'))}
      process.env.PATH = '/nowhere'
      const bench = await QemuBench.start({ devices: [], binary })
      console.log(bench.pid, bench.commandLine[0] === binary)
      setTimeout(() => process.exit(), 50)`)
    const [pid, bare] = (await child.line()).split(' ')
    expect(bare).toBe('true')
    await until(() => !alive(Number(pid)))
  })

  it('close() leaves nothing that keeps the process alive', async () => {
    const child = inChild(`${START}
      const fn = bench.function(0)
      const stop = fn.enableMsix(2)[0].watch(() => {})
      fn.intx()
      await bench.close()
      console.log('closed')`)
    expect(await child.line()).toBe('closed')
    await once(child.process, 'exit')
    expect(child.process.exitCode).toBe(0)
  })

  // only root can become somebody else; anybody else is unprivileged as it is
  it('needs no privileges', async () => {
    const wrapper =
      process.getuid?.() === 0
        ? ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--bounding-set', '-all']
        : []
    const child = inChild(
      `${START}
      const fn = bench.function(0)
      const vectors = fn.enableMsix(2)
      console.log(process.getuid(), fn.configRead16(0), vectors.length, fn.dma.allocate(4096).length)
      await bench.close()`,
      wrapper,
    )
    const uid = wrapper.length > 0 ? 65534 : process.getuid?.()
    expect(await child.line()).toBe(`${uid} ${0x1af4} 2 4096`)
    await once(child.process, 'exit')
    expect([child.process.exitCode, child.stderr]).toEqual([0, ''])
  })
})

describe('QemuProcess', () => {
  it('keeps stderr and the way it ended', async () => {
    const sh = QemuProcess.spawn({ binary: 'sh', args: ['-c', 'echo one >&2; echo two >&2; exit 7'], fds: [] })
    const exit = await sh.exited
    expect([exit.code, sh.ended, sh.stderr]).toEqual([7, true, 'one\ntwo\n'])
    expect(describeExit(exit)).toBe('with exit status 7')
    sh.kill()
  })

  it('kill ends it', async () => {
    const sleep = QemuProcess.spawn({ binary: 'sleep', args: ['1000'], fds: [] })
    expect(alive(sleep.pid)).toBe(true)
    sleep.kill()
    expect(describeExit(await sleep.exited)).toBe('by SIGKILL')
    expect(alive(sleep.pid)).toBe(false)
  })

  it('does not wait for a grandchild that holds stderr', async () => {
    const sh = QemuProcess.spawn({ binary: 'sh', args: ['-c', 'sleep 20 & echo $! >&2'], fds: [] })
    await sh.exited
    process.kill(Number(sh.stderr))
  })

  it('lastWords drops names, warnings and empty lines', () => {
    const stderr =
      'qemu-system-x86_64: warning: slow\n\nqemu-system-x86_64: -device x: one\n/usr/bin/qemu-system-x86_64: two\n'
    expect(lastWords(stderr)).toBe('-device x: one; two')
  })
})
