// @ts-check
// What the back-end can do at most: a split ring that was filled before, and a loop that does nothing but count what was used and make as much
// available again. No request is made, no answer looked at, nothing is trusted or checked until the end.
import { DeviceStatus, DeviceType, featureSet, ReservedFeature } from '@virtio-ts/spec'
import { VhostUserEndpoint } from '@virtio-ts/transport-vhost-user'
import { BLOCK } from './cases.mjs'

const SIZE = 256
const HEADER = 16
const INDIRECT = 4
const NEXT = 1
const WRITE = 2
const NO_STATUS = 0xff

/** @param {string} path of the back-end's socket @param {import('./cases.mjs').Case} test @returns {Promise<number>} requests a second */
export async function measureBareRing(path, test) {
  const endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.BLOCK })
  const transport = await endpoint.connect({ wait: true })
  try {
    const ring = await start(transport, test.operation)
    ring.run(test.depth, Math.ceil(test.count / 5))
    const seconds = ring.run(test.depth, test.count)
    ring.check()
    return test.count / seconds
  } finally {
    await transport.close()
    await endpoint.close()
  }
}

/** @param {import('@virtio-ts/transport-vhost-user').VhostUserTransport} transport @param {Case['operation']} operation */
async function start(transport, operation) {
  const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = DeviceStatus
  await transport.reset()
  await transport.setStatus(ACKNOWLEDGE | DRIVER)
  const { VERSION_1, EVENT_IDX, INDIRECT_DESC } = ReservedFeature
  await transport.acceptFeatures(featureSet(VERSION_1, EVENT_IDX, INDIRECT_DESC))
  await transport.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
  await transport.setUpInterrupts(1, 'none')
  const ring = new BareRing(transport, operation)
  await transport.enableQueue(0, SIZE, ring.addresses)
  await transport.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
  return ring
}

/** @typedef {import('./cases.mjs').Case} Case */

class BareRing {
  /** @param {import('@virtio-ts/transport-vhost-user').VhostUserTransport} transport @param {Case['operation']} operation */
  constructor(transport, operation) {
    this.transport = transport
    const allocate = (/** @type {number} */ length) => transport.dma.allocate(length, 4096)
    const descriptors = allocate(SIZE * 16)
    const driver = allocate(6 + 2 * SIZE)
    const device = allocate(6 + 8 * SIZE)
    const tables = allocate(SIZE * 64)
    const data = allocate(SIZE * BLOCK)
    this.control = allocate(SIZE * 32)
    this.addresses = {
      descriptorArea: descriptors.deviceAddress,
      driverArea: driver.deviceAddress,
      deviceArea: device.deviceAddress,
    }
    this.driverArea = new Uint16Array(driver.bytes.buffer, driver.bytes.byteOffset, 3 + SIZE)
    this.deviceArea = new Uint16Array(device.bytes.buffer, device.bytes.byteOffset, 3 + 4 * SIZE)
    /** Requests made available, and used, in all. */
    this.available = 0
    this.used = 0
    const request = operation === 'read' ? 0 : 1
    for (let n = 0; n < SIZE; n++) {
      const header = this.control.deviceAddress + 32 * n
      const buffers = [
        [header, HEADER, NEXT, 1],
        [data.deviceAddress + BLOCK * n, BLOCK, NEXT | (request === 0 ? WRITE : 0), 2],
        [header + HEADER, 1, WRITE, 0],
      ]
      for (const [i, fields] of buffers.entries()) describe(tables, 64 * n + 16 * i, fields)
      describe(descriptors, 16 * n, [tables.deviceAddress + 64 * n, 48, INDIRECT, 0])
      const view = new DataView(this.control.bytes.buffer, this.control.bytes.byteOffset + 32 * n, 32)
      view.setUint32(0, request, true)
      view.setUint32(8, 8 * n, true)
      view.setUint8(HEADER, NO_STATUS)
      this.driverArea[2 + n] = n
    }
  }

  /** @param {number} depth @param {number} count @returns {number} seconds */
  run(depth, count) {
    const { driverArea, deviceArea, transport } = this
    const start = performance.now()
    const end = this.used + count
    while (this.used < end) {
      const came = (Atomics.load(deviceArea, 1) - this.used) & 0xffff
      if (came > depth) throw new Error(`${came} requests came back of ${depth} that were with the device`)
      this.used += came
      const wanted = Math.min(this.used + depth, end)
      const added = wanted - this.available
      if (added === 0) continue
      this.available = wanted
      Atomics.store(driverArea, 1, wanted & 0xffff)
      // avail_event: whether it is among those just made available.
      if (((wanted - Atomics.load(deviceArea, 2 + 4 * SIZE) - 1) & 0xffff) < added) transport.notify(0)
    }
    return (performance.now() - start) / 1000
  }

  /** @throws Error when a request of the last round was not carried out */
  check() {
    for (let n = 0; n < SIZE; n++) {
      const status = this.control.bytes[32 * n + HEADER]
      if (status !== 0) throw new Error(`request ${n} of the bare ring ended with status ${status}`)
    }
  }
}

/** @param {import('@virtio-ts/memory').DmaRegion} region @param {number} at @param {readonly (number | undefined)[]} fields address, length, flags, next */
function describe({ bytes }, at, [address = 0, length = 0, flags = 0, next = 0]) {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, 16)
  view.setUint32(0, address, true)
  view.setUint32(8, length, true)
  view.setUint16(12, flags, true)
  view.setUint16(14, next, true)
}
