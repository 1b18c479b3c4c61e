import type { DriverSpec, QueueSpec } from '@virtio-ts/core'
import {
  ConsoleConfig,
  ConsoleFeature,
  type ConsoleFeatureName,
  consolePortQueues,
  ConsoleQueue as Index,
  DeviceType,
} from '@virtio-ts/spec'
import { consoleLimits } from './console-options.ts'

export type ConsoleQueueName =
  | `receiveq(port${number})`
  | `transmitq(port${number})`
  | 'control receiveq'
  | 'control transmitq'

/** A port's queues need no more descriptors than the port has buffers. */
const SMALLEST_RING = 16
const CONTROL_RING = 64

/**
 * The console as data, with queues for at most `maxPorts` ports.
 * @see VIRTIO 1.3 § 5.3 "Console Device"
 */
export function consoleSpecFor(maxPorts: number, buffers: number): DriverSpec<ConsoleFeatureName, ConsoleQueueName> {
  const size = 2 ** Math.ceil(Math.log2(Math.max(SMALLEST_RING, buffers)))
  return {
    name: 'console',
    deviceType: DeviceType.CONSOLE,
    features: ConsoleFeature,
    queues: async (features, config) => {
      // VIRTIO 1.3 § 5.3.2 "Virtqueues": all but the first two only exist with MULTIPORT.
      if (!features.has('MULTIPORT')) return portQueues(0, size)
      const claimed = await config.read32(ConsoleConfig.MAX_NR_PORTS)
      const count = Math.min(Math.max(claimed, 1), maxPorts)
      return [
        ...portQueues(0, size),
        { name: 'control receiveq', index: Index.CONTROL_RECEIVE, size: CONTROL_RING },
        { name: 'control transmitq', index: Index.CONTROL_TRANSMIT, size: SMALLEST_RING },
        ...Array.from({ length: count - 1 }, (_, before) => portQueues(before + 1, size)).flat(),
      ]
    },
  }
}

/** What `ConsoleDriver` is without options. */
export const consoleSpec: DriverSpec<ConsoleFeatureName, ConsoleQueueName> = defaultSpec()

function defaultSpec(): DriverSpec<ConsoleFeatureName, ConsoleQueueName> {
  const { maxPorts, buffers } = consoleLimits({})
  return consoleSpecFor(maxPorts, buffers)
}

function portQueues(port: number, size: number): readonly QueueSpec<ConsoleQueueName>[] {
  const { receive, transmit } = consolePortQueues(port)
  return [
    { name: `receiveq(port${port})`, index: receive, size },
    { name: `transmitq(port${port})`, index: transmit, size },
  ]
}
