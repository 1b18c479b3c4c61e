import type { VirtioDevice } from '@virtio-ts/core'
import type { NetOptions } from './net-options.ts'
import { type NetDriverFeature, type NetQueue, receiveQueueName, transmitQueueName } from './net-spec.ts'
import { shapePair } from './pair-shape.ts'
import { QueuePairEngine } from './queue-pair-engine.ts'

export interface SetUpPairsOptions {
  /** Where MTU was negotiated. */
  readonly deviceMtu: number | undefined
  readonly onTransmitTimeout: (inFlight: number, pair: number) => void
}

/**
 * Makes the works of every queue pair that was set up, each with memory of its own.
 * @throws VirtioError `net.queue-size`; RangeError for options that cannot be; DmaError `memory.exhausted`
 */
export function setUpPairs(
  device: VirtioDevice<NetDriverFeature, NetQueue>,
  options: NetOptions,
  { deviceMtu, onTransmitTimeout }: SetUpPairsOptions,
): readonly QueuePairEngine[] {
  const engines: QueuePairEngine[] = []
  for (let index = 0; device.hasQueue(receiveQueueName(index)); index++) {
    const shape = shapePair(device, index, deviceMtu, options)
    const engine = new QueuePairEngine({
      shape,
      memory: device.allocate(shape.layout.length, 4096),
      receiveQueue: device.queue(receiveQueueName(index)),
      transmitQueue: device.queue(transmitQueueName(index)),
      head: typeof options.head === 'function' ? options.head(index) : index === 0 ? options.head : undefined,
      onTransmitTimeout: (inFlight) => onTransmitTimeout(inFlight, index),
    })
    // Of a pair for another thread that one hears, and nobody else.
    if (shape.notified && !isForTransfer(index, options)) {
      device.onUsed(receiveQueueName(index), () => engine.attention.received())
      device.onUsed(transmitQueueName(index), () => engine.attention.transmitted())
    }
    engines.push(engine)
  }
  return engines
}

export function isForTransfer(pair: number, { transferPairs }: NetOptions): boolean {
  return transferPairs === 'all' || (transferPairs === 'others' && pair > 0)
}
