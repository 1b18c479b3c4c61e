import { describe, expect, it } from 'vitest'
import { runSource } from '../test/run-source.ts'
import { eventfd } from './eventfd.ts'
import { close, read, write } from './file-descriptor.ts'
import { PollEvent, poll } from './poll.ts'
import { socketPair } from './socket.ts'

describe('poll', () => {
  it('reports the events asked for that are there', () => {
    const fd = eventfd()
    expect(poll(fd, PollEvent.IN, 0)).toBe(0)
    expect(poll(fd, PollEvent.IN | PollEvent.OUT, 0)).toBe(PollEvent.OUT)
    write(fd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
    expect(poll(fd, PollEvent.IN, -1)).toBe(PollEvent.IN)
    expect(poll(fd, PollEvent.IN | PollEvent.OUT, 1000)).toBe(PollEvent.IN | PollEvent.OUT)
    read(fd, new Uint8Array(8))
    expect(poll(fd, PollEvent.IN, 1)).toBe(0)
    close(fd)
  })

  it('reports a hang-up unasked', () => {
    const [a, b] = socketPair()
    close(a)
    expect(poll(b, 0, -1)).toBe(PollEvent.HUP)
    close(b)
  })

  it('reports a descriptor that is not open', () => {
    expect(poll(100_000, PollEvent.IN, -1)).toBe(PollEvent.NVAL)
  })

  it('comes back early, with nothing, when a signal arrives', async () => {
    const child = await runSource(`
      import { spawn } from 'node:child_process'
      import { eventfd, poll } from '@virtio-ts/native'
      process.on('SIGUSR2', () => { process.stdout.write('signal'); process.exit(0) })
      spawn('sh', ['-c', 'sleep 0.3; kill -USR2 ' + process.pid], { stdio: 'ignore' })
      process.stdout.write(poll(eventfd(), 1, 15_000) + ' ')
      setInterval(() => {}, 1000)
    `)
    expect(child).toMatchObject({ status: 0, stdout: '0 signal', stderr: '' })
  })
})
