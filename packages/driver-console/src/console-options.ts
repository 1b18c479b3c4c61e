import type { InitializeOptions } from '@virtio-ts/core'

export interface ConsoleOptions extends InitializeOptions {
  /** Ports to make queues for at most, whatever the device says it may have. @defaultValue 64 */
  readonly maxPorts?: number
  /** Bytes of a buffer; each port in use has `buffers` of them in either direction. @defaultValue 4096 */
  readonly bufferSize?: number
  /** @defaultValue 8 */
  readonly buffers?: number
  /** Milliseconds that `open()` waits for the device to name its ports; what comes later is told by `port-added`. @defaultValue 1000 */
  readonly announceTimeout?: number
  /** Milliseconds between two looks for a notification that got lost; 0 for none. @defaultValue 1000 */
  readonly watchdog?: number
}

export interface ConsoleLimits {
  readonly maxPorts: number
  readonly bufferSize: number
  readonly buffers: number
  readonly announceTimeout: number
  readonly watchdog: number
}

/** @throws RangeError for options that cannot be */
export function consoleLimits(options: ConsoleOptions): ConsoleLimits {
  const limits = {
    maxPorts: options.maxPorts ?? 64,
    bufferSize: options.bufferSize ?? 4096,
    buffers: options.buffers ?? 8,
    announceTimeout: options.announceTimeout ?? 1000,
    watchdog: options.watchdog ?? 1000,
  }
  const check = (name: keyof typeof limits, least: number, most: number): void => {
    const value = limits[name]
    if (!Number.isInteger(value) || value < least || value > most)
      throw new RangeError(`${name} is ${value}: it has to be a whole number from ${least} to ${most}`)
  }
  // A device has 65536 queues at most, two for each port.
  check('maxPorts', 1, 32_766)
  check('bufferSize', 1, 1 << 24)
  check('buffers', 1, 1024)
  check('announceTimeout', 0, 0x7fffffff)
  check('watchdog', 0, 0x7fffffff)
  return limits
}
