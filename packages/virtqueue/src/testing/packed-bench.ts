import type { DmaAllocator } from '@virtio-ts/memory'
import { heapDma } from '@virtio-ts/memory/heap'
import type { VirtioError } from '@virtio-ts/spec'
import { PackedVirtqueue, type PackedVirtqueueOptions, usedBatch } from '../index.ts'
import type { Completion } from './naive-device.ts'
import { NaivePackedDevice } from './naive-packed-device.ts'

export interface PackedBench {
  readonly queue: PackedVirtqueue
  readonly device: NaivePackedDevice
  readonly allocator: DmaAllocator
  /** Everything the device can reach, and the device address of its first byte. */
  readonly memory: DataView
  readonly base: number
  notifications: number
  readonly broken: VirtioError[]
  /** All used buffers, in batches of `batch`. */
  drain(batch?: number): Completion[]
}

export type PackedBenchOptions = Partial<PackedVirtqueueOptions> & {
  readonly memoryLength?: number
  readonly base?: number
}

/** A packed virtqueue with the naive device on the same memory. */
export function packedBench(options: PackedBenchOptions = {}): PackedBench {
  const allocator =
    options.allocator ?? heapDma(options.memoryLength ?? 1 << 16, { deviceAddress: options.base ?? 1 << 21 })
  const probe = allocator.allocate(64)
  const memory = new DataView(probe.bytes.buffer)
  const base = probe.deviceAddress - probe.bytes.byteOffset
  allocator.free(probe)
  const queue = new PackedVirtqueue({
    index: 3,
    size: 8,
    indirect: false,
    eventIdx: false,
    trust: 'strict',
    device: 'bench',
    generation: 1,
    ...options,
    allocator,
    notify: (next) => {
      bench.notifications++
      options.notify?.(next)
    },
  })
  const { descriptorArea, driverArea, deviceArea } = queue.addresses
  const device = new NaivePackedDevice(memory, base, {
    size: queue.size,
    eventIdx: options.eventIdx ?? false,
    indirect: options.indirect ?? false,
    descriptorArea: descriptorArea - base,
    driverArea: driverArea - base,
    deviceArea: deviceArea - base,
  })
  const bench: PackedBench = {
    queue,
    device,
    allocator,
    memory,
    base,
    notifications: 0,
    broken: [],
    drain(capacity = 32) {
      const batch = usedBatch(capacity)
      const used: Completion[] = []
      for (let count = queue.popUsed(batch); count > 0; count = queue.popUsed(batch)) {
        for (let i = 0; i < count; i++) used.push({ cookie: batch.cookies[i]!, written: batch.written[i]! })
      }
      return used
    },
  }
  queue.onBroken((reason) => bench.broken.push(reason))
  return bench
}
