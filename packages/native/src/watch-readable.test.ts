import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { constants } from 'node:fs'
import { Socket } from 'node:net'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { runSource } from '../test/run-source.ts'
import { Errno } from './errno.ts'
import { eventfd } from './eventfd.ts'
import { close, duplicate, open, openFdCount, read, write } from './file-descriptor.ts'
import { libc } from './libc.ts'
import { AddressFamily, SocketType, socket, socketPair } from './socket.ts'
import { watchReadable } from './watch-readable.ts'

const ONE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)
const into = new Uint8Array(8)
const opened: number[] = []
const watches: (() => void)[] = []

function event(): number {
  const fd = eventfd()
  opened.push(fd)
  return fd
}

function watch(fd: number, listener: () => void): () => void {
  const stop = watchReadable(fd, listener)
  watches.push(stop)
  return stop
}

/** Enough turns of the loop for an event that is there to have been reported. */
async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await turn()
  await sleep(5)
}

afterEach(() => {
  for (const stop of watches.splice(0)) stop()
  for (const fd of opened.splice(0)) close(fd)
})

describe('watchReadable', () => {
  it('calls when an eventfd is signalled, as often as it is signalled and drained', async () => {
    const fd = event()
    let calls = 0
    watch(fd, () => {
      calls += 1
      expect(read(fd, into)).toBe(8)
    })
    await turns()
    expect(calls).toBe(0)
    for (let round = 1; round <= 3; round++) {
      write(fd, ONE)
      await turns()
      expect(calls).toBe(round)
    }
  })

  it('calls again for as long as there is something to read', async () => {
    const [a, b] = socketPair()
    opened.push(a, b)
    const seen: number[] = []
    write(a, Uint8Array.of(1, 2, 3))
    watch(b, () => {
      if (read(b, into, 0, 1) === 1) seen.push(into[0] as number)
    })
    await turns()
    expect(seen).toEqual([1, 2, 3])
  })

  it('reports the end of a stream', async () => {
    const [a, b] = socketPair()
    opened.push(b)
    const results: number[] = []
    const stop = watch(b, () => {
      results.push(read(b, into))
      stop()
    })
    close(a)
    await turns()
    expect(results).toEqual([0])
  })

  it('is not called after it was stopped, even when the event has been seen', async () => {
    const first = event()
    const second = event()
    const calls: string[] = []
    const stopFirst = watch(first, () => {
      calls.push('first')
      read(first, into)
      stopSecond()
    })
    const stopSecond = watch(second, () => {
      calls.push('second')
      read(second, into)
      stopFirst()
    })
    write(first, ONE)
    write(second, ONE)
    await turns()
    expect(calls).toHaveLength(1)
  })

  it('can watch one file twice, and again after it was stopped', async () => {
    const fd = event()
    const calls: string[] = []
    const stop = watch(fd, () => calls.push('one'))
    watch(fd, () => {
      calls.push('two')
      read(fd, into)
    })
    write(fd, ONE)
    await turns()
    expect(calls).toContain('two')
    stop()
    stop()
    calls.length = 0
    write(fd, ONE)
    await turns()
    expect(calls).toEqual(['two'])
  })

  it('can watch a descriptor that Node watches itself', async () => {
    const [a, b] = socketPair()
    opened.push(a)
    const socket = new Socket({ fd: b })
    const data: number[] = []
    socket.on('data', (chunk) => data.push(...chunk))
    await turns()
    let calls = 0
    const stop = watch(b, () => {
      calls += 1
      stop()
    })
    write(a, Uint8Array.of(1))
    await turns()
    expect({ calls, data }).toEqual({ calls: 1, data: [1] })
    socket.destroy()
    await turns()
  })

  it('keeps no number that is closed behind its back', async () => {
    const fd = eventfd()
    const stop = watchReadable(fd, () => {})
    close(fd)
    const reused = event()
    expect(reused).toBe(fd)
    let calls = 0
    watch(reused, () => {
      calls += 1
      read(reused, into)
    })
    stop()
    write(reused, ONE)
    await turns()
    expect(calls).toBe(1)
  })

  it('lets promises and ticks of the listener go on without another event', async () => {
    const fd = event()
    const order: string[] = []
    await new Promise<void>((resolve) => {
      watch(fd, () => {
        read(fd, into)
        process.nextTick(() => order.push('tick'))
        void Promise.resolve().then(() => {
          order.push('promise')
          resolve()
        })
      })
      write(fd, ONE)
    })
    expect(order).toEqual(['tick', 'promise'])
  })

  it('goes on after an error that reading clears', async () => {
    // A datagram to a port nobody listens on: the refusal that comes back puts the sender's socket in error until it is read.
    const peer = createSocket('udp4')
    peer.bind(0, '127.0.0.1')
    await once(peer, 'listening')
    const { port } = peer.address()
    peer.close()
    const fd = socket(AddressFamily.INET, SocketType.DATAGRAM)
    opened.push(fd)
    libc.connect(fd, Uint8Array.of(2, 0, port >> 8, port & 0xff, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0), 16)
    const results: number[] = []
    watch(fd, () => results.push(read(fd, into)))
    for (let round = 1; round <= 2; round++) {
      write(fd, ONE)
      await turns()
      expect(results).toEqual(Array.from({ length: round }, () => -Errno.ECONNREFUSED))
    }
    const again = createSocket('udp4')
    again.bind(port, '127.0.0.1')
    await once(again, 'listening')
    again.on('message', (message, sender) => again.send(message.subarray(0, 3), sender.port, sender.address))
    write(fd, ONE)
    await vi.waitFor(() => expect(results.at(-1)).toBe(3))
    again.close()
  })

  it('refuses what cannot be watched, where libuv would end the process', () => {
    const file = open('/proc/self/exe', constants.O_RDONLY)
    opened.push(file)
    const before = openFdCount()
    expect(() => watchReadable(file, () => {})).toThrow(expect.objectContaining({ code: 'EPERM' }))
    expect(() => watchReadable(100_000, () => {})).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => watchReadable(-1, () => {})).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(openFdCount()).toBe(before)
  })

  it('leaves no descriptor behind in 10 000 rounds', async () => {
    const fd = event()
    const keep = duplicate(fd)
    opened.push(keep)
    const before = openFdCount()
    for (let i = 0; i < 10_000; i++) {
      const stop = watchReadable(fd, () => {})
      if (i % 1000 === 0) await turn()
      stop()
    }
    expect(openFdCount()).toBe(before)
    let calls = 0
    watch(fd, () => {
      calls += 1
      read(fd, into)
    })
    write(fd, ONE)
    await turns()
    expect(calls).toBe(1)
    expect(read(fd, into)).toBe(-Errno.EAGAIN)
  })
})

describe('a process that watches', () => {
  const prologue = `
    import { Worker, isMainThread } from 'node:worker_threads'
    import { close, eventfd, read, watchReadable, write } from '@virtio-ts/native'
    const fd = eventfd()
    const one = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)
    const say = (text) => process.stdout.write(text + ' ')
  `

  it('lives until the watch is stopped, and then ends by itself', async () => {
    const child = await runSource(`${prologue}
      const stop = watchReadable(fd, () => { read(fd, new Uint8Array(8)); say('event'); stop() })
      setTimeout(() => { say('signal'); write(fd, one) }, 50).unref()
      setTimeout(() => say('late'), 10_000).unref()
      process.on('exit', () => say('exit'))
    `)
    // The timers hold nobody up: only the watch kept the process there for the signal.
    expect(child).toEqual({ status: 0, signal: null, stdout: 'signal event exit ', stderr: '' })
  })

  it('does not wait for a watch that is told not to keep it alive', async () => {
    const child = await runSource(`${prologue}
      const stop = watchReadable(fd, () => { read(fd, new Uint8Array(8)); say('event') }, { keepAlive: false })
      write(fd, one)
      setTimeout(() => say('timer'), 50)
      process.on('exit', () => say('exit'))
    `)
    expect(child).toEqual({ status: 0, signal: null, stdout: 'event timer exit ', stderr: '' })
  })

  it('keeps its watch when garbage is collected', async () => {
    const child = await runSource(
      `${prologue}
      watchReadable(fd, () => { say('event'); process.exit(3) })
      setTimeout(() => { gc(); gc(); setTimeout(() => { gc(); write(fd, one) }, 20) }, 20)
      `,
      { nodeOptions: ['--expose-gc'] },
    )
    expect(child).toMatchObject({ status: 3, stdout: 'event ' })
  })

  it('can leave by process.exit() at any time', async () => {
    const child = await runSource(`${prologue}
      for (let i = 0; i < 10; i++) watchReadable(fd, () => {})
      setTimeout(() => process.exit(5), 20)
    `)
    expect(child).toMatchObject({ status: 5, signal: null, stderr: '' })
  })

  it('gets what a listener throws as an uncaught exception, and goes on', async () => {
    const child = await runSource(`${prologue}
      let calls = 0
      process.on('uncaughtException', (error) => say(error.message))
      const stop = watchReadable(fd, () => {
        calls += 1
        if (calls === 1) throw new Error('thrown')
        say('again')
        stop()
      })
      write(fd, one)
    `)
    expect(child).toMatchObject({ status: 0, stdout: 'thrown again ', stderr: '' })
  })

  it('ends with an error when nobody catches that', async () => {
    const child = await runSource(`${prologue}
      watchReadable(fd, () => { throw new Error('thrown') })
      write(fd, one)
    `)
    expect(child.status).toBe(1)
    expect(child.stderr).toContain('Error: thrown')
  })

  it('can end a worker that watches', async () => {
    const child = await runSource(`
      import { Worker } from 'node:worker_threads'
      const source = ${JSON.stringify(`
        import { eventfd, watchReadable } from '@virtio-ts/native'
        import { parentPort } from 'node:worker_threads'
        for (let i = 0; i < 10; i++) watchReadable(eventfd(), () => {})
        parentPort.postMessage('watching')
      `)}
      for (let round = 0; round < 5; round++) {
        const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source.replace('@virtio-ts/native', import.meta.resolve('@virtio-ts/native')))))
        await new Promise((resolve, reject) => { worker.on('message', resolve); worker.on('error', reject) })
        process.stdout.write(await worker.terminate() + ' ')
      }
    `)
    expect(child).toEqual({ status: 0, signal: null, stdout: '1 1 1 1 1 ', stderr: '' })
  })
})
