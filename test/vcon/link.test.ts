import { execFile, execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, lstatSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { drink, pour } from '../console/console-bench.ts'
import { requirement } from '../requirements.ts'
import { OtherEnd, RunningVcon } from '../support/running-vcon.ts'

const LENGTH = 10_000_000
const sh = (script: string): Promise<{ stdout: string }> => promisify(execFile)('sh', ['-c', script])

requirement(
  'qemu',
  'sha256sum',
  'stty',
)('vcon attach --link', () => {
  let end: OtherEnd
  let link: string
  let vcon: RunningVcon
  let peer: Socket

  beforeEach(() => {
    end = new OtherEnd()
    link = join(end.folder, 'con0')
  })

  afterEach(async () => {
    vcon.child.kill('SIGKILL')
    await vcon.ended
    end.close()
  })

  async function start(): Promise<void> {
    vcon = RunningVcon.linked([end.locator('virtserialport,name=org.example.con'), '--link', link])
    await vcon.event('ready')
    peer = await end.connect()
    await vcon.event('connected')
  }

  it('another process exchanges 10 MB in each direction through the terminal', async () => {
    await start()
    const file = join(end.folder, 'data')
    const data = randomBytes(LENGTH)
    writeFileSync(file, data)
    // A shell that has the terminal open as descriptor 3: one program reads it, another writes to it.
    const [{ stdout }, came, sent] = await Promise.all([
      sh(`exec 3<>${link}; cat ${file} >&3 & head -c ${LENGTH} <&3 | sha256sum; wait`),
      drink(peer, LENGTH),
      pour(peer, LENGTH, 1),
    ])
    expect(stdout.split(' ')[0]).toBe(sent)
    expect(came).toBe(createHash('sha256').update(data).digest('hex'))
    expect(await vcon.stop()).toBe(0)
    expect(existsSync(link)).toBe(false)
    expect(vcon.events.at(-1)).toMatchObject({ event: 'stopped', reason: 'SIGTERM', sent: LENGTH, received: LENGTH })
  })

  it('programs come and go; each finds a raw terminal, and what came meanwhile', async () => {
    await start()
    for (let round = 1; round <= 5; round++) {
      // A program that leaves the terminal in other modes than it found it in.
      const said = once(peer, 'data')
      const { stdout } = await sh(`exec 3<>${link}; stty -a <&3; stty sane <&3; printf 'round ${round}' >&3; sleep 0.2`)
      expect(stdout).toMatch(/-icanon .*-echo /s)
      expect(String(await said)).toBe(`round ${round}`)
      await vcon.event('opened', 2 * round - 1)
      await vcon.event('left', 2 * round - 1)
      // Nobody has it open: this waits, and is not echoed.
      peer.write(`meanwhile ${round}\n`)
      expect((await sh(`head -n 1 < ${link}; sleep 0.2`)).stdout).toBe(`meanwhile ${round}\n`)
      await vcon.event('left', 2 * round)
    }
    expect(vcon.child.exitCode).toBeNull()
  })

  it('a program that only says something and leaves at once is heard', async () => {
    await start()
    for (let round = 0; round < 5; round++) {
      const said = once(peer, 'data')
      await sh(`echo ${round} > ${link}`)
      // The terminal adds a carriage return where its modes say so: they do not.
      expect(String(await said)).toBe(`${round}\n`)
      // Its modes are put back after a visit that nobody saw.
      await sh(`stty sane < ${link}; sleep 0.2`)
    }
  })

  it('while nobody has the terminal open the peer is slowed down, and nothing is lost', async () => {
    await start()
    const sent = pour(peer, 2_000_000, 7)
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(peer.writableNeedDrain).toBe(true)
    expect((await sh(`head -c 2000000 < ${link} | sha256sum`)).stdout.split(' ')[0]).toBe(await sent)
  })

  it('QEMU killed: exit code 69, the link is gone', async () => {
    await start()
    process.kill(vcon.children[0] as number, 'SIGKILL')
    expect((await vcon.ended).code).toBe(69)
    expect(lstatSync(link, { throwIfNoEntry: false })).toBeUndefined()
  })

  it('replaces a link that leads nowhere, as a killed vcon leaves it', async () => {
    await start()
    const before = readlinkSync(link)
    vcon.child.kill('SIGKILL')
    await vcon.ended
    expect(readlinkSync(link)).toBe(before)
    expect(existsSync(link)).toBe(false)
    // Another one may have the number now: the link is not to lead to somebody else's terminal.
    vcon = RunningVcon.linked(['model:console', '--link', link])
    const { terminal } = await vcon.event('ready')
    expect(readlinkSync(link)).toBe(terminal)
    expect(await vcon.stop()).toBe(0)
    expect(lstatSync(link, { throwIfNoEntry: false })).toBeUndefined()
  })

  it('leaves alone what is there and leads somewhere', async () => {
    for (const make of [() => writeFileSync(link, 'mine'), () => symlinkSync('/dev/null', `${link}2`)]) {
      make()
      const path = existsSync(`${link}2`) ? `${link}2` : link
      vcon = RunningVcon.linked(['model:console', '--link', path])
      expect((await vcon.ended).code).toBe(1)
      expect(vcon.messages).toContain(`${path} is there already`)
      expect(vcon.messages).toContain('fix: another path')
      expect(existsSync(path)).toBe(true)
    }
  })

  it('has the size the device says', async () => {
    vcon = RunningVcon.linked(['model:console,size=132x43', '--link', link])
    await vcon.event('ready')
    expect(execFileSync('stty', ['-F', link, 'size'], { encoding: 'utf8' })).toBe('43 132\n')
    // What it echoes comes back through the terminal.
    const reader = spawn('head', ['-n', '1', link], { stdio: ['ignore', 'pipe', 'inherit'] })
    await vcon.event('opened')
    writeFileSync(link, 'echo\n')
    expect(String((await once(reader.stdout, 'data'))[0])).toBe('echo\n')
    await once(reader, 'close')
  })
})
