import type { VirtioError } from '@virtio-ts/spec'
import type { ConsolePort } from './console-port.ts'
import type { ConsoleSize } from './console-size.ts'
import { Listeners } from './listeners.ts'

export interface ConsoleEvents {
  /** The device has a new port, and was told that it is ready; its name is there if the device said it by then. */
  'port-added': (port: ConsolePort) => void
  /** The device took a port away. Its stream ends: with `console.port-removed` if data was on its way. */
  'port-removed': (port: ConsolePort) => void
  /** A console has another size. */
  resize: (port: ConsolePort, size: ConsoleSize) => void
  /** A queue broke, or the device failed or is gone: nothing but `close()` makes sense any more. Once. */
  fault: (reason: VirtioError) => void
}

export type ConsoleEventListeners = {
  readonly [Event in keyof ConsoleEvents]: Listeners<Parameters<ConsoleEvents[Event]>>
}

export function consoleEventListeners(): ConsoleEventListeners {
  return {
    'port-added': new Listeners(),
    'port-removed': new Listeners(),
    resize: new Listeners(),
    fault: new Listeners(),
  }
}
