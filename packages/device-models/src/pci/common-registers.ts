import { CommonConfig as Common, DeviceStatus, hasFeature, ReservedFeature } from '@virtio-ts/spec'
import type { DeviceCore } from '../device-core.ts'
import type { DeviceQueue } from '../device-queue.ts'
import { Rules } from '../rules.ts'
import type { RegisterBlock } from './register-block.ts'
import { type RegisterField, RegisterFields } from './register-fields.ts'
import type { VectorRegisters } from './vector-registers.ts'

const WORD = 2 ** 32
/** What NOTIF_CONFIG_DATA has the driver send in place of the queue's index. */
export const NOTIFY_DATA_BASE = 0x40

/**
 * struct virtio_pci_common_cfg as a device answers it.
 * @see VIRTIO 1.3 § 4.1.4.3 "Common configuration structure layout"
 */
export function commonRegisters(core: DeviceCore, vectors: VectorRegisters): RegisterBlock {
  let deviceWord = 0
  let driverWord = 0
  let selected = 0
  const queue = (): DeviceQueue | undefined => core.queues[selected]
  /** The queue, to be set up: not any more once it is enabled. */
  const settable = (name: string): DeviceQueue | undefined => {
    const target = queue()
    if (!target?.enabled) return target
    core.violation(Rules.COMMON_CONFIG, `${name} of queue ${selected} was written after queue_enable`)
    return undefined
  }
  const field = (
    offset: number,
    width: 1 | 2 | 4,
    name: string,
    read: () => number,
    write?: (value: number) => void,
  ): RegisterField => (write ? { name, offset, width, read, write } : { name, offset, width, read })
  /** A 64-bit address as its two halves. */
  const address = (
    offset: number,
    name: string,
    key: 'descriptorArea' | 'driverArea' | 'deviceArea',
  ): RegisterField[] => [
    field(
      offset,
      4,
      name,
      () => (queue()?.[key] ?? 0) % WORD,
      (low) => {
        const target = settable(name)
        if (target) target[key] = target[key] - (target[key] % WORD) + low
      },
    ),
    field(
      offset + 4,
      4,
      name,
      () => Math.floor((queue()?.[key] ?? 0) / WORD),
      (high) => {
        const target = settable(name)
        if (target) target[key] = (target[key] % WORD) + high * WORD
      },
    ),
  ]

  const fields = [
    field(
      Common.DEVICE_FEATURE_SELECT,
      4,
      'device_feature_select',
      () => deviceWord,
      (value) => {
        deviceWord = value
      },
    ),
    field(Common.DEVICE_FEATURE, 4, 'device_feature', () => word(core.readFeatures(), deviceWord)),
    field(
      Common.DRIVER_FEATURE_SELECT,
      4,
      'driver_feature_select',
      () => driverWord,
      (value) => {
        driverWord = value
      },
    ),
    field(
      Common.DRIVER_FEATURE,
      4,
      'driver_feature',
      () => word(core.features, driverWord),
      (value) => {
        const shift = BigInt(driverWord) * 32n
        // No feature is defined beyond these words; a bit written there would be one that was not offered.
        if (driverWord < 4)
          core.writeFeatures((core.features & ~(0xffffffffn << shift)) | (BigInt(value) << shift), false)
      },
    ),
    field(
      Common.CONFIG_MSIX_VECTOR,
      2,
      'config_msix_vector',
      () => vectors.readConfiguration(),
      (value) => vectors.writeConfiguration(value),
    ),
    field(Common.NUM_QUEUES, 2, 'num_queues', () => {
      const moment = { count: core.queues.length }
      core.show('queue-count', moment)
      return moment.count
    }),
    field(
      Common.DEVICE_STATUS,
      1,
      'device_status',
      () => core.readStatus(),
      (value) => {
        if ((value & DeviceStatus.DRIVER_OK) !== 0) vectors.judge()
        core.writeStatus(value, false)
      },
    ),
    field(Common.CONFIG_GENERATION, 1, 'config_generation', () => {
      const moment = { generation: core.config.generation }
      core.show('generation', moment)
      return moment.generation & 0xff
    }),
    field(
      Common.QUEUE_SELECT,
      2,
      'queue_select',
      () => selected,
      (value) => {
        const moment = { previous: selected, queue: value }
        core.show('queue-select', moment)
        selected = moment.queue
      },
    ),
    field(
      Common.QUEUE_SIZE,
      2,
      'queue_size',
      () => readSize(core, queue(), selected),
      (value) => resize(core, settable('queue_size'), value),
    ),
    field(
      Common.QUEUE_MSIX_VECTOR,
      2,
      'queue_msix_vector',
      () => vectors.readQueue(queue()),
      (value) => vectors.writeQueue(queue(), value),
    ),
    field(
      Common.QUEUE_ENABLE,
      2,
      'queue_enable',
      () => (queue()?.enabled ? 1 : 0),
      (value) => enable(core, queue(), value),
    ),
    field(Common.QUEUE_NOTIFY_OFF, 2, 'queue_notify_off', () => {
      const moment = { queue: selected, offset: selected }
      core.show('notify-offset', moment)
      return moment.offset
    }),
    ...address(Common.QUEUE_DESC, 'queue_desc', 'descriptorArea'),
    ...address(Common.QUEUE_DRIVER, 'queue_driver', 'driverArea'),
    ...address(Common.QUEUE_DEVICE, 'queue_device', 'deviceArea'),
    field(Common.QUEUE_NOTIF_CONFIG_DATA, 2, 'queue_notif_config_data', () => NOTIFY_DATA_BASE + selected),
    field(
      Common.QUEUE_RESET,
      2,
      'queue_reset',
      () => (queue()?.resetting ? 1 : 0),
      (value) => resetQueue(core, queue(), value),
    ),
  ]
  const extended =
    hasFeature(core.offered, ReservedFeature.RING_RESET) || hasFeature(core.offered, ReservedFeature.NOTIF_CONFIG_DATA)
  return new RegisterFields(extended ? Common.QUEUE_RESET + 2 : Common.MINIMUM_LENGTH, fields, {
    width: (target, width) =>
      core.violation(
        Rules.PCI_LAYOUT,
        `${target.name}, ${target.width * 8} bits wide, accessed with ${width * 8} bits`,
      ),
    readOnly: (target) => core.violation(Rules.COMMON_CONFIG, `${target.name} is read-only for the driver`),
  })
}

function word(features: bigint, index: number): number {
  return index < 4 ? Number((features >> (BigInt(index) * 32n)) & 0xffffffffn) : 0
}

export function readSize(core: DeviceCore, queue: DeviceQueue | undefined, index: number): number {
  const moment = { queue: index, size: queue?.size ?? 0 }
  core.show('queue-size', moment)
  return moment.size & 0xffff
}

function resize(core: DeviceCore, queue: DeviceQueue | undefined, requested: number): void {
  if (!queue) return
  const { index, maximum } = queue
  const power = requested > 0 && (requested & (requested - 1)) === 0
  const packed = hasFeature(core.features, ReservedFeature.RING_PACKED)
  const fits = packed ? requested > 0 : power
  if (packed && requested === 0) core.violation(Rules.COMMON_CONFIG, `queue_size 0 of queue ${index} with RING_PACKED`)
  if (!packed && !power)
    core.violation(Rules.COMMON_CONFIG, `queue_size ${requested} of queue ${index} is not a power of 2`)
  if (requested > maximum)
    core.violation(Rules.COMMON_CONFIG, `queue_size ${requested} of queue ${index} is more than the maximum ${maximum}`)
  const moment = { queue: index, requested, maximum, accepted: fits && requested <= 32768 ? requested : queue.size }
  core.show('queue-resize', moment)
  queue.size = moment.accepted
}

function enable(core: DeviceCore, queue: DeviceQueue | undefined, value: number): void {
  if (value !== 1) {
    core.violation(Rules.COMMON_CONFIG, `${value} was written to queue_enable`)
    return
  }
  if (!queue) return
  if ((core.status & DeviceStatus.FEATURES_OK) === 0)
    core.violation(Rules.INITIALIZATION, `queue ${queue.index} was enabled before FEATURES_OK`)
  queue.enabled = true
  queue.resetting = false
  // A queue that comes back after queue_reset is in use at once.
  if (core.driverOk) core.ring(queue.index)
}

/** VIRTIO 1.3 § 2.6.1.1.1 "Device Requirements: Virtqueue Reset" */
function resetQueue(core: DeviceCore, queue: DeviceQueue | undefined, value: number): void {
  if (!queue || value !== 1) return
  if (!hasFeature(core.features, ReservedFeature.RING_RESET)) {
    core.violation(Rules.COMMON_CONFIG, 'queue_reset was written without RING_RESET')
    return
  }
  const moment = { queue: queue.index, done: true }
  core.show('queue-reset', moment)
  if (moment.done) {
    queue.reset()
    core.resetVector(queue)
  } else queue.resetting = true
}
