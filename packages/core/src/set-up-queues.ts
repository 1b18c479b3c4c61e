import { hasFeature, ReservedFeature, SplitRing, VirtioError } from '@virtio-ts/spec'
import { type OwnedVirtqueue, PackedVirtqueue, SplitVirtqueue } from '@virtio-ts/virtqueue'
import type { DeviceConfig } from './device-config.ts'
import type { DriverSpec, QueueSpec } from './driver-spec.ts'
import type { NegotiatedFeatures } from './negotiated-features.ts'
import type { Transport } from './transport.ts'
import type { InitializeOptions } from './virtio-device.ts'

/** A queue with its name: what `initialize` hands to the device once DRIVER_OK is set. */
export interface NamedQueue {
  readonly name: string
  /** Another one after a reset that changed the size. */
  queue: OwnedVirtqueue
  /** Descriptors at most. */
  readonly sizeMax: number
  /** Another queue like this one. @throws DmaError `memory.exhausted` */
  readonly make: (size: number) => OwnedVirtqueue
}

/** The queues a driver asked for, as a list, fixed or computed. */
export async function planQueues<Feature extends string, Queue extends string>(
  spec: DriverSpec<Feature, Queue>,
  features: NegotiatedFeatures<Feature>,
  config: DeviceConfig,
): Promise<readonly QueueSpec<Queue>[]> {
  if (typeof spec.queues === 'function') return spec.queues(features, config)
  return spec.queues.map((name, index) => ({ name, index }))
}

/**
 * Sizes a queue, makes it and tells the device where it is. `made` receives it before the device learns of it, so that a
 * failure further on finds every stretch of memory the device may know.
 */
export async function setUpQueue(
  transport: Transport,
  features: NegotiatedFeatures,
  plan: QueueSpec,
  options: InitializeOptions,
  generation: number,
  made: NamedQueue[],
): Promise<void> {
  const packed = hasFeature(features.bits, ReservedFeature.RING_PACKED)
  const sizeMax = await largestSize(transport, plan, packed)
  const size = transport.queueSizeWritable
    ? Math.min(sizeMax, options.queueSize ?? sizeMax, plan.size ?? sizeMax)
    : sizeMax
  const common = {
    index: plan.index,
    allocator: transport.dma,
    indirect: hasFeature(features.bits, ReservedFeature.INDIRECT_DESC),
    eventIdx: hasFeature(features.bits, ReservedFeature.EVENT_IDX),
    inOrder: hasFeature(features.bits, ReservedFeature.IN_ORDER),
    trust: options.trust ?? (transport.legacy ? 'tolerant' : 'strict'),
    // Two functions: the packet path decides nothing.
    notify: hasFeature(features.bits, ReservedFeature.NOTIFICATION_DATA)
      ? (next: number) => transport.notify(plan.index, next)
      : () => transport.notify(plan.index),
    device: transport.location,
    generation,
  }
  const make = (wanted: number): OwnedVirtqueue =>
    packed
      ? new PackedVirtqueue({ ...common, size: wanted })
      : new SplitVirtqueue({ ...common, size: wanted, legacy: transport.legacy })
  const queue = make(size)
  made.push({ name: plan.name, queue, sizeMax, make })
  await transport.enableQueue(plan.index, size, queue.addresses)
}

/** The largest size the device allows and the format can have. */
async function largestSize(transport: Transport, plan: QueueSpec, packed: boolean): Promise<number> {
  const most = await transport.queueSizeMax(plan.index)
  const where = { device: transport.location, queue: plan.index, detail: { size: most } }
  if (most === 0) {
    throw new VirtioError(
      'queue.missing',
      `${transport.location} has no queue ${plan.index} (${plan.name}), which the driver needs`,
      where,
    )
  }
  if (most > SplitRing.MAX_SIZE) {
    throw new VirtioError(
      'queue.size-invalid',
      `${transport.location} says queue ${plan.index} (${plan.name}) has ${most} entries; the specification allows ${SplitRing.MAX_SIZE}`,
      where,
    )
  }
  // VIRTIO 1.3 § 2.7 "Split Virtqueues": the size is always a power of two.
  // VIRTIO 1.3 § 2.8.10.1 "Structure Size and Alignment": that of a packed one need not be.
  const powerOfTwo = 2 ** Math.floor(Math.log2(most))
  const largest = packed ? most : powerOfTwo
  if (transport.queueSizeWritable) return largest
  if (powerOfTwo === most) return most
  throw new VirtioError(
    'queue.size-invalid',
    `${transport.location} says queue ${plan.index} (${plan.name}) has ${most} entries, which is not a power of two, and its legacy interface lets nobody change that`,
    where,
  )
}
