import type { VirtioError } from '@virtio-ts/spec'
import { Listeners } from './listeners.ts'
import type { InvalidConfig, LinkState } from './net-state.ts'

export interface NetEvents {
  /** The link went up or down, or changed its speed. */
  link: (link: LinkState) => void
  /** The device asks for gratuitous packets; answer with `acknowledgeAnnounce()` once they are sent. */
  announce: () => void
  /** A queue broke, or the device failed or is gone: nothing but `close()` makes sense any more. Once. */
  fault: (reason: VirtioError) => void
  /** The configuration space says something it must not; the last good value stands. */
  'config-invalid': (what: InvalidConfig) => void
  /** Frames of a pair have been with the device for `transmitTimeout`, and none came back. Once per standstill. */
  'transmit-timeout': (inFlight: number, pair: number) => void
}

export type NetEventListeners = { readonly [Event in keyof NetEvents]: Listeners<Parameters<NetEvents[Event]>> }

export function netEventListeners(): NetEventListeners {
  return {
    link: new Listeners(),
    announce: new Listeners(),
    fault: new Listeners(),
    'config-invalid': new Listeners(),
    'transmit-timeout': new Listeners(),
  }
}
