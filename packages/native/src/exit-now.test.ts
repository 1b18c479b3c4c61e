import { expect, it } from 'vitest'
import { runSource } from '../test/run-source.ts'

it('ends the process with its code, whatever its workers do, and calls no further listener', async () => {
  // A thread that waits in a system call: process.exit() would wait for it.
  const stuck = `
    import { parentPort } from 'node:worker_threads'
    import { eventfd, poll, PollEvent } from 'NATIVE'
    parentPort.postMessage('about to wait')
    poll(eventfd(), PollEvent.IN, -1)
  `
  const child = await runSource(`
    import { Worker } from 'node:worker_threads'
    import { exitNow } from '@virtio-ts/native'
    const source = ${JSON.stringify(stuck)}.replace('NATIVE', import.meta.resolve('@virtio-ts/native'))
    const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)))
    await new Promise((resolve, reject) => { worker.once('message', resolve); worker.once('error', reject) })
    process.on('exit', (code) => { process.stdout.write('first '); exitNow(code) })
    process.on('exit', () => process.stdout.write('second'))
    setTimeout(() => process.exit(7), 100)
  `)
  expect(child).toEqual({ status: 7, signal: null, stdout: 'first ', stderr: '' })
})
