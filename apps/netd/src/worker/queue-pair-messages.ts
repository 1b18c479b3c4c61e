import type { FaultReport, NetPairTransfer } from '@virtio-ts/driver-net'
import type { Polling } from '../session/tap-loop.ts'
import type { PortableError } from './portable-error.ts'

/** What the thread of a queue pair is started with. */
export interface QueuePairRequest {
  readonly transfer: NetPairTransfer
  /** A queue of the TAP: the owner's to close, after the thread has stopped. */
  readonly tapFd: number
  /** Of its `SessionCounters`. */
  readonly counters: SharedArrayBuffer
  /** Bytes of the largest frame the TAP hands over. */
  readonly largest: number
  readonly polling: Polling
  readonly capturing: boolean
}

export type QueuePairOrder =
  | { readonly order: 'stats' }
  | { readonly order: 'capture'; readonly on: boolean }
  | { readonly order: 'frames-taken'; readonly bytes: number }
  /** Takes no more frames from the TAP. */
  | { readonly order: 'stop-transmit' }
  /** Ends: at once with the reason for which the device has failed, without one when frames in the ring have left. */
  | { readonly order: 'stop'; readonly reason?: FaultReport }

export type QueuePairReport =
  | { readonly report: 'stats'; readonly stats: Readonly<Record<string, number>> }
  | { readonly report: 'fault'; readonly fault: FaultReport }
  | { readonly report: 'frames'; readonly batch: Uint8Array; readonly dropped: number }
  | { readonly report: 'crashed'; readonly error: PortableError }
  /** Nothing of the device's memory is touched any more. */
  | { readonly report: 'stopped'; readonly stats: Readonly<Record<string, number>> }
