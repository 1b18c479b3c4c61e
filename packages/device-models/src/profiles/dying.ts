import type { DeviceCore } from '../device-core.ts'
import type { DeviceMoments, DevicePoint, DeviceProfile } from '../device-profile.ts'

export interface DyingOptions {
  /** Register accesses answered before the device is gone. */
  readonly after: number
  /** Counts only from this moment on, e.g. `notify`; from the first access when left out. */
  readonly from?: DevicePoint
  /** Nothing but all-ones tells it: the function does not say that it is `gone`. @defaultValue false */
  readonly silent?: boolean
}

/** A device that is pulled out: from an access on all registers read as all-ones, nothing reaches memory, and the function is `gone`. */
export function dying({ after, from, silent }: DyingOptions): DeviceProfile {
  let left = after
  let counting = from === undefined
  return {
    name: 'dying',
    on<Point extends DevicePoint>(point: Point, moment: DeviceMoments[Point], _device: DeviceCore | undefined): void {
      if (point === from) counting = true
      if (point !== 'access' || !counting) return
      const access = moment as DeviceMoments['access']
      access.announced = !silent
      if (left === 0) access.gone = true
      else left--
    },
  }
}
