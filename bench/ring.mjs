// @ts-check
// The driver's own cost: a packet added, published and taken back from the split ring, with a device that answers at once and free of
// charge (it is measured by itself and subtracted).
import { heapDma } from '@virtio-ts/memory/heap'
import { SplitVirtqueue, usedBatch } from '@virtio-ts/virtqueue'
import { NaiveRing } from './naive-ring.mjs'
import { alternate } from './report.mjs'

const size = 256
const packets = 2_000_000

export async function* run() {
  for (const batch of [1, 4, 16, 32, 64]) {
    yield await alternate(
      `batch ${batch}`,
      'ns/packet',
      7,
      () => ours(batch),
      () => naive(batch),
    )
  }
}

/** Marks `count` chains as used, in order: each takes one descriptor, and the ring hands heads out again as they come back. */
class InstantDevice {
  /** @param {Uint16Array} avail16 @param {number} avail @param {Uint16Array} used16 @param {Uint32Array} used32 @param {number} used */
  constructor(avail16, avail, used16, used32, used) {
    this.avail16 = avail16
    this.avail = avail
    this.used16 = used16
    this.used32 = used32
    this.used = used
    this.index = 0
  }

  /** @param {number} count */
  use(count) {
    for (let i = 0; i < count; i++) {
      const slot = this.index & (size - 1)
      const head = this.avail16[this.avail + 2 + slot] ?? 0
      this.used32[this.used + 1 + slot * 2] = head
      this.used32[this.used + 2 + slot * 2] = 64
      this.index = (this.index + 1) & 0xffff
    }
    this.used16[this.used * 2 + 1] = this.index
  }
}

/** @param {number} batch @returns {number} nanoseconds a packet */
function ours(batch) {
  const allocator = heapDma(1 << 20)
  const queue = new SplitVirtqueue({
    index: 0,
    size,
    allocator,
    legacy: false,
    indirect: false,
    eventIdx: true,
    trust: 'strict',
    notify: () => {},
  })
  const memory = allocator.allocate(4096)
  const { buffer } = memory.bytes
  const base = memory.deviceAddress - memory.bytes.byteOffset
  const { driverArea, deviceArea } = queue.addresses
  const device = new InstantDevice(
    new Uint16Array(buffer),
    (driverArea - base) / 2,
    new Uint16Array(buffer),
    new Uint32Array(buffer),
    (deviceArea - base) / 4,
  )
  const used = usedBatch(batch)
  const round = () => {
    for (let i = 0; i < batch; i++) queue.addWritable(memory.deviceAddress, 64, i)
    queue.publish()
    device.use(batch)
    if (queue.popUsed(used) !== batch) throw new Error('the ring lost a packet')
  }
  const alone = () => {
    device.use(batch)
  }
  const whole = time(round, batch)
  return whole - time(alone, batch)
}

/** @param {number} batch @returns {number} */
function naive(batch) {
  const ring = new NaiveRing(size)
  const round = () => {
    for (let i = 0; i < batch; i++) ring.add({ address: 4096n, length: 64, token: { i } })
    ring.use(batch)
    for (let i = 0; i < batch; i++) if (!ring.take()) throw new Error('the ring lost a packet')
  }
  return time(round, batch)
}

/** @param {() => void} round @param {number} batch @returns {number} nanoseconds a packet */
function time(round, batch) {
  const rounds = packets / batch
  for (let i = 0; i < rounds / 10; i++) round()
  const start = performance.now()
  for (let i = 0; i < rounds; i++) round()
  return ((performance.now() - start) * 1e6) / packets
}
