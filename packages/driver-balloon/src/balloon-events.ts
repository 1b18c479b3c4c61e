import type { VirtioError } from '@virtio-ts/spec'
import { Listeners } from './listeners.ts'

export interface BalloonEvents {
  /** The device wants another number of pages. */
  target: (pages: number) => void
  /** There are so many pages in the balloon now. */
  actual: (pages: number) => void
  /** The page source has so many pages fewer than the device wants; it is asked again later. Once each time it runs short. */
  short: (missing: number) => void
  /** The page source or the statistics failed: `balloon.page-source`, `balloon.statistics`. The balloon goes on. */
  'source-failed': (reason: VirtioError) => void
  /** A queue broke, or the device failed or is gone: nothing but `close()` makes sense any more. Once. */
  fault: (reason: VirtioError) => void
}

export type BalloonEventListeners = {
  readonly [Event in keyof BalloonEvents]: Listeners<Parameters<BalloonEvents[Event]>>
}

export function balloonEventListeners(): BalloonEventListeners {
  return {
    target: new Listeners(),
    actual: new Listeners(),
    short: new Listeners(),
    'source-failed': new Listeners(),
    fault: new Listeners(),
  }
}
