// @ts-check
// A transport whose device is a C program on the other core: features fixed, memory inherited, nothing to notify.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { DeviceType, ReservedFeature, DeviceStatus } from '@virtio-ts/spec'
import { deviceCpu } from '../machine/cores.mjs'

/** @typedef {import('@virtio-ts/core').Transport} Transport */
/** @typedef {import('node:child_process').ChildProcess} ChildProcess */

/** @implements {Transport} */
export class IdealTransport {
  name = 'ideal'
  location = 'device.c'
  deviceType = DeviceType.NETWORK
  legacy = false
  queueSizeWritable = true
  configLength = 0
  /** @type {Map<number, import('@virtio-ts/core').QueueAddresses>} */
  queues = new Map()
  size = 0
  current = 0
  /** @type {ChildProcess | undefined} */
  device

  /**
   * @param {import('@virtio-ts/memory/memfd').MappedDma} dma
   * @param {{ program: string, packed: boolean, mode: string, length: number }} options
   */
  constructor(dma, options) {
    this.dma = dma
    this.options = options
  }

  get pid() {
    return this.device?.pid ?? 0
  }

  async deviceFeatures() {
    const ring = this.options.packed ? 1n << BigInt(ReservedFeature.RING_PACKED) : 0n
    return (1n << BigInt(ReservedFeature.VERSION_1)) | ring
  }

  async acceptFeatures() {}

  async status() {
    return this.current
  }

  /** @param {number} status */
  async setStatus(status) {
    if (status & ~this.current & DeviceStatus.DRIVER_OK) await this.start()
    this.current = status
  }

  async start() {
    const { program, packed, mode, length } = this.options
    const addresses = [0, 1].flatMap((index) => {
      const areas = this.queues.get(index)
      return [areas?.descriptorArea, areas?.driverArea, areas?.deviceArea]
    })
    const format = packed ? 'packed' : 'split'
    const numbers = [this.size, this.dma.deviceAddress, deviceCpu, length, ...addresses]
    this.device = spawn(program, [format, mode, ...numbers.map(String)], {
      stdio: ['ignore', 'pipe', 'inherit', this.dma.fd],
    })
    const ended = once(this.device, 'exit').then(([code]) => {
      throw new Error(`the ideal device ended with ${code}`)
    })
    ended.catch(() => {})
    await Promise.race([
      once(/** @type {NonNullable<typeof this.device.stdout>} */ (this.device.stdout), 'data'),
      ended,
    ])
  }

  async reset() {
    this.current = 0
    if (this.device === undefined || this.device.exitCode !== null) return
    const gone = once(this.device, 'exit')
    this.device.kill('SIGKILL')
    await gone
    this.device = undefined
  }

  /** @param {number} index */
  async queueSizeMax(index) {
    return index < 2 ? 1024 : 0
  }

  /** @param {number} index @param {number} size @param {import('@virtio-ts/core').QueueAddresses} addresses */
  async enableQueue(index, size, addresses) {
    this.size = size
    this.queues.set(index, addresses)
  }

  async resetQueue() {}
  async readConfig() {}
  async writeConfig() {}

  async setUpInterrupts() {
    return { mode: /** @type {const} */ ('none'), vectors: 0 }
  }

  onUsed() {}
  onConfigChange() {}
  onGone() {}
  notify() {}

  async close() {
    await this.reset()
  }
}
