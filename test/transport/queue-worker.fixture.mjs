// The other thread of worker-queue.test.ts: maps the file, adopts the queue, sends and takes back chains until it has enough of them.
import { mapShared, write } from '@virtio-ts/native'
import { adoptVirtqueue, ChainBuilder, usedBatch } from '@virtio-ts/virtqueue'
import { parentPort, workerData } from 'node:worker_threads'

const { queue: transfer, descriptors, memory, buffers, chains } = workerData
const mapping = mapShared(memory.fd, memory.length)
const { bytes } = mapping
const one = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)
const queue = adoptVirtqueue(transfer, {
  memory: { bytes, deviceAddress: memory.deviceAddress },
  notify: () => write(descriptors.notify, one),
})
queue.onBroken((reason) => parentPort.postMessage({ broken: reason.code, stats: queue.stats }))

const batch = usedBatch(32)
const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
const first = (buffers - memory.deviceAddress) >> 2
const chain = new ChainBuilder(2)
const seen = []
let sent = 0

function turn() {
  while (sent < chains && queue.free >= 2 && queue.inFlight < 16) {
    const buffer = 8 * (sent % 16)
    words[first + buffer] = sent
    chain
      .clear()
      .addReadable(buffers + 4 * buffer, 4)
      .addWritable(buffers + 4 * (buffer + 4), 16)
    queue.addChain(chain, sent++)
  }
  queue.publish()
  for (let count = queue.popUsed(batch); count > 0; count = queue.popUsed(batch)) {
    for (let i = 0; i < count; i++) {
      const cookie = batch.cookies[i]
      seen.push([cookie, batch.written[i], words[first + 8 * (cookie % 16) + 4]])
    }
  }
  if (queue.broken) return
  if (seen.length < chains) setImmediate(turn)
  else parentPort.postMessage({ seen, stats: queue.stats, inFlight: queue.inFlight })
}
turn()
parentPort.on('message', () => {
  mapping.unmap()
  parentPort.close()
})
