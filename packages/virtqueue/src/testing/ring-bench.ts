import type { DeviceAddress, DmaAllocator } from '@virtio-ts/memory'
import { heapDma } from '@virtio-ts/memory/heap'
import type { VirtioError } from '@virtio-ts/spec'
import { type SplitVirtqueueOptions, SplitVirtqueue, usedBatch } from '../index.ts'
import { NaiveDevice } from './naive-device.ts'

export interface RingBench {
  readonly queue: SplitVirtqueue
  readonly device: NaiveDevice
  readonly allocator: DmaAllocator
  /** Everything the device can reach, and the device address of its first byte. */
  readonly memory: DataView
  readonly base: number
  notifications: number
  readonly broken: VirtioError[]
  /** All used buffers, in batches of `batch`. */
  drain(batch?: number): { cookie: number; written: number }[]
}

export type BenchOptions = Partial<SplitVirtqueueOptions> & { readonly memoryLength?: number; readonly base?: number }

/** A split virtqueue with the naive device on the same memory. */
export function ringBench(options: BenchOptions = {}): RingBench {
  const allocator =
    options.allocator ?? heapDma(options.memoryLength ?? 1 << 20, { deviceAddress: options.base ?? 1 << 21 })
  const probe = allocator.allocate(64)
  const memory = new DataView(probe.bytes.buffer)
  const base = probe.deviceAddress - probe.bytes.byteOffset
  allocator.free(probe)
  const queue = new SplitVirtqueue({
    index: 3,
    size: 8,
    legacy: false,
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
  const device = new NaiveDevice(memory, base, {
    size: queue.size,
    eventIdx: options.eventIdx ?? false,
    indirect: options.indirect ?? false,
    startIndex: options.startIndex ?? 0,
    descriptorArea: descriptorArea - base,
    driverArea: driverArea - base,
    deviceArea: deviceArea - base,
  })
  const bench: RingBench = {
    queue,
    device,
    allocator,
    memory,
    base,
    notifications: 0,
    broken: [],
    drain(capacity = 32) {
      const batch = usedBatch(capacity)
      const used: { cookie: number; written: number }[] = []
      for (let count = queue.popUsed(batch); count > 0; count = queue.popUsed(batch)) {
        for (let i = 0; i < count; i++) used.push({ cookie: batch.cookies[i]!, written: batch.written[i]! })
      }
      return used
    },
  }
  queue.onBroken((reason) => bench.broken.push(reason))
  return bench
}

/** Addresses that lie in no region: the naive device reads descriptors, not buffers. */
export const at = (address: number): DeviceAddress => address as DeviceAddress
