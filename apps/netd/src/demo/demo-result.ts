import type { SessionDescription } from '../control/observable.ts'
import type { RoundTrips } from './round-trips.ts'

/** What `netd demo --json` prints. */
export interface DemoResult {
  /** Every question answered, no rule broken, no memory left. */
  readonly ok: boolean
  readonly device: SessionDescription
  readonly roundTrips: readonly RoundTrips[]
  /** The driver's, after the interrupt-driven part. */
  readonly counters: Readonly<Record<string, number>>
  /** Requirements of the specification that the driver broke, as the device saw it. */
  readonly violations: readonly string[]
  /** DMA memory not given back after both drivers were closed, in bytes. */
  readonly leakedBytes: number
}
