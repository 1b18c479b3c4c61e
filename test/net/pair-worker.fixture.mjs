// The other thread of pair-workers.test.ts: has one queue pair, and sends back whatever comes, with the addresses exchanged.
import { NetQueuePair } from '@virtio-ts/driver-net'
import { mapShared, read, watchReadable, write } from '@virtio-ts/native'
import { parentPort, workerData } from 'node:worker_threads'

const { transfer } = workerData
const mapping = mapShared(transfer.memory.fd, transfer.memory.length)
const one = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)
const pair = NetQueuePair.adopt(transfer, {
  bytes: mapping.bytes,
  deviceAddress: transfer.memory.deviceAddress,
  notifyReceive: () => write(transfer.receive.descriptors.notify, one),
  notifyTransmit: () => write(transfer.transmit.descriptors.notify, one),
})
const count = new Uint8Array(8)
const watches = [
  [transfer.receive.descriptors.used, () => pair.receiveNotified()],
  [transfer.transmit.descriptors.used, () => pair.transmitNotified()],
].map(([fd, notified]) =>
  watchReadable(fd, () => {
    if (read(fd, count) === 8) notified()
  }),
)

pair.onFault(({ code, message }) => parentPort.postMessage({ fault: { code, message } }))
/** Frames that found no slot. */
const waiting = []
function echo(packet) {
  const frame = packet.toFrame()
  frame.copyWithin(0, 6, 12)
  frame.set(packet.toFrame().subarray(0, 6), 6)
  if (waiting.length > 0 || !pair.send(frame)) waiting.push(frame)
}
pair.onTransmitSpace(() => {
  while (waiting.length > 0 && pair.send(waiting[0])) waiting.shift()
})
pair.onReceive(() => {
  do while (pair.receive(echo, 32) > 0);
  while (pair.armReceive())
})

parentPort.on('message', (message) => void obey(message))

async function obey({ stop, report }) {
  if (report) parentPort.postMessage({ report: pair.report() })
  if (stop === undefined) return
  await pair.drain(1000)
  for (const end of watches) end()
  const last = pair.report()
  pair.stop(stop || undefined)
  const idle = [pair.receive(() => {}, 1), pair.reserve(60), pair.send(new Uint8Array(60))]
  mapping.unmap()
  parentPort.postMessage({ stopped: last, idle })
  parentPort.close()
}
parentPort.postMessage({ ready: pair.index })
