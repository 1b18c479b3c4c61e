import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { drink, pour } from '../console/console-bench.ts'
import { requirement } from '../requirements.ts'
import { OtherEnd, RunningVcon } from '../support/running-vcon.ts'

const LENGTH = 20_000_000

requirement('qemu')('vcon attach between pipes', () => {
  let end: OtherEnd
  let vcon: RunningVcon
  let peer: Socket

  beforeEach(async () => {
    end = new OtherEnd()
    vcon = RunningVcon.piped([end.locator('virtserialport,name=org.example.data'), '--wait', '0.2'])
    await vcon.event('ready')
  })

  afterEach(async () => {
    vcon.child.kill('SIGKILL')
    await vcon.ended
    end.close()
  })

  async function meet(): Promise<void> {
    peer = await end.connect()
    await vcon.event('connected')
  }

  it('carries 20 MB in each direction at once, unchanged, and ends when its input has', async () => {
    await meet()
    const [sent, came, answered, back] = await Promise.all([
      pour(vcon.stdin, LENGTH, 1).then((hash) => {
        vcon.stdin.end()
        return hash
      }),
      drink(peer, LENGTH),
      pour(peer, LENGTH, 2),
      drink(vcon.stdout, LENGTH),
    ])
    expect(came).toBe(sent)
    expect(back).toBe(answered)
    expect(await vcon.ended).toEqual({ code: 0, signal: null })
    expect(vcon.events.at(-1)).toEqual({ event: 'stopped', reason: 'end of input', sent: LENGTH, received: LENGTH })
  })

  it('what comes before anybody is at the other end is not lost', async () => {
    vcon.stdin.end('early')
    await delay(300)
    expect(vcon.child.exitCode).toBeNull()
    await meet()
    expect(await drink(peer, 5)).toBe(createHash('sha256').update('early').digest('hex'))
    expect((await vcon.ended).code).toBe(0)
  })

  it('an answer that comes after the end of the input is heard', async () => {
    await meet()
    peer.once('data', () => void delay(100).then(() => peer.write('answer')))
    let heard = ''
    vcon.stdout.on('data', (chunk: Buffer) => (heard += chunk))
    vcon.stdin.end('question')
    expect((await vcon.ended).code).toBe(0)
    expect(heard).toBe('answer')
  })

  it('a peer that does not read slows the input down, and loses nothing', async () => {
    await meet()
    peer.pause()
    const hash = pour(vcon.stdin, LENGTH, 3)
    const waiting = (): number => vcon.child.stdin!.writableLength
    // Until nothing moves any more: then everything between here and there is full.
    for (let before = -1; before !== waiting() || before === 0; ) {
      before = waiting()
      await delay(500)
    }
    expect(vcon.child.stdin!.writableNeedDrain).toBe(true)
    const came = drink(peer, LENGTH)
    expect(await came).toBe(await hash)
  })

  it('a reader that does not read slows the peer down', async () => {
    await meet()
    vcon.stdout.pause()
    const hash = pour(peer, LENGTH, 4)
    await delay(500)
    expect(peer.writableNeedDrain).toBe(true)
    const came = drink(vcon.stdout, LENGTH)
    expect(await came).toBe(await hash)
  })

  it('SIGTERM while the peer does not read: ends within its time, and says that bytes are lost', async () => {
    await meet()
    peer.pause()
    void pour(vcon.stdin, LENGTH, 5).catch(() => {})
    vcon.stdin.on('error', () => {})
    await delay(500)
    expect(await vcon.stop()).toBe(0)
    expect(vcon.events.map(({ event }) => event).slice(-2)).toEqual(['lost', 'stopped'])
  })

  it('a reader that goes away is a quiet end', async () => {
    await meet()
    vcon.stdout.destroy()
    const write = (): void => void (peer.destroyed || peer.write('more'))
    peer.on('error', () => {})
    const timer = setInterval(write, 20)
    expect((await vcon.ended).code).toBe(0)
    clearInterval(timer)
    expect(vcon.messages).toBe('')
  })
})
