import { parentPort, workerData } from 'node:worker_threads'
import { NetQueuePair, RECEIVED_HEAD_LENGTH } from '@virtio-ts/driver-net'
import { mapShared, read, watchReadable, write } from '@virtio-ts/native'
import { TapQueue } from '@virtio-ts/tap'
import { FrameTap } from '../session/frame-tap.ts'
import { FromDevice } from '../session/from-device.ts'
import { SessionCounters } from '../session/session-counters.ts'
import { TapLoop } from '../session/tap-loop.ts'
import { ToDevice } from '../session/to-device.ts'
import { FrameSender } from './frame-sender.ts'
import { portableError } from './portable-error.ts'
import type { QueuePairOrder, QueuePairReport, QueuePairRequest } from './queue-pair-messages.ts'

/*
 * The thread of one further queue pair: it moves frames between the pair and a queue of the TAP. Device, TAP and all descriptors belong to
 * the data plane's thread, which started this one and lets it end before it closes them.
 */

if (parentPort === null) throw new Error('this file is the main module of a worker thread')
const port = parentPort
const request = workerData as QueuePairRequest
const { transfer, tapFd, polling } = request
const one = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)
const drained = new Uint8Array(8)

function report(message: QueuePairReport, moved: readonly ArrayBuffer[] = []): void {
  port.postMessage(message, [...moved])
}

process.on('uncaughtException', (error) => report({ report: 'crashed', error: portableError(error) }))

const mapping = mapShared(transfer.memory.fd, transfer.memory.length)
const head = new Uint8Array(new ArrayBuffer(RECEIVED_HEAD_LENGTH))
const pair = NetQueuePair.adopt(transfer, {
  bytes: mapping.bytes,
  deviceAddress: transfer.memory.deviceAddress,
  head,
  notifyReceive: () => write(transfer.receive.descriptors.notify, one),
  notifyTransmit: () => write(transfer.transmit.descriptors.notify, one),
})
const frames = new FrameTap()
const sender = new FrameSender((batch, dropped) => report({ report: 'frames', batch, dropped }, [batch.buffer]))
let detach: (() => void) | undefined = request.capturing ? frames.attach(sender) : undefined
const counters = new SessionCounters(request.counters)
// That the interface is gone is told by its owner, who watches it.
const tap = new TapQueue(tapFd, () => {})
const fromDevice = new FromDevice(pair, tap, counters, frames, head, transfer.shape.index)
const toDevice = new ToDevice(pair, tap, counters, frames, request.largest, transfer.shape.index)
const loop = new TapLoop(pair, tap, fromDevice, toDevice, polling)
const watches = [
  watch(transfer.receive.descriptors.used, () => pair.receiveNotified()),
  watch(transfer.transmit.descriptors.used, () => pair.transmitNotified()),
]

function watch(fd: number | undefined, notified: () => void): () => void {
  if (fd === undefined || polling !== 'no') return () => {}
  return watchReadable(fd, () => {
    read(fd, drained)
    notified()
  })
}

async function stop(reason: Extract<QueuePairOrder, { order: 'stop' }>['reason']): Promise<void> {
  loop.stopTransmit()
  if (reason === undefined) await pair.drain()
  loop.stop()
  for (const stopWatch of watches) stopWatch()
  const stats = pair.stats()
  pair.stop(reason)
  detach?.()
  mapping.unmap()
  report({ report: 'stopped', stats })
  port.close()
}

pair.onFault(({ code, message }) => report({ report: 'fault', fault: { code, message } }))
port.on('message', (order: QueuePairOrder) => {
  switch (order.order) {
    case 'stats':
      return report({ report: 'stats', stats: pair.stats() })
    case 'capture':
      detach?.()
      detach = order.on ? frames.attach(sender) : undefined
      return
    case 'frames-taken':
      return sender.taken(order.bytes)
    case 'stop-transmit':
      return loop.stopTransmit()
    case 'stop':
      void stop(order.reason)
  }
})
loop.start()
