import type { DeviceCore } from '../device-core.ts'
import type { DeviceMoments, DevicePoint, DeviceProfile } from '../device-profile.ts'
import { hostileBlock, type HostileBlockKind } from './hostile-block.ts'
import { hostileCapabilities, type HostileCapabilityKind } from './hostile-capabilities.ts'
import { hostileConsole, type HostileConsoleKind } from './hostile-console.ts'
import { hostileNet, type HostileNetKind } from './hostile-net.ts'
import { hostileRegisters, type HostileRegisterKind } from './hostile-registers.ts'
import { hostileRing, type HostileRingKind } from './hostile-ring.ts'
import type { HostileScript, Misdeed } from './hostile-script.ts'

/** The tables beside say what each does. */
export type HostileKind =
  | HostileRingKind
  | HostileRegisterKind
  | HostileNetKind
  | HostileBlockKind
  | HostileConsoleKind
  | HostileCapabilityKind

const misdeeds: Readonly<Record<HostileKind, Misdeed>> = {
  ...hostileRing,
  ...hostileRegisters,
  ...hostileNet,
  ...hostileBlock,
  ...hostileConsole,
  ...hostileCapabilities,
}

/** Every misdeed there is. */
export const hostileKinds: readonly HostileKind[] = Object.keys(misdeeds) as HostileKind[]

/** What can happen at any moment, because it does not change what the moment is about. */
const anywhere: ReadonlySet<string> = new Set(['needs-reset'])

/** A device that keeps a script of misdeeds. */
export interface HostileProfile extends DeviceProfile {
  /** Misdeeds done so far: a test that expects one can see that it came about. */
  readonly done: number
}

interface Running {
  readonly script: HostileScript<HostileKind>
  readonly misdeed: Misdeed
  readonly at: DevicePoint
  wait: number
  left: number
  round: number
}

/**
 * A device that misbehaves by script, and is honest otherwise.
 * @throws RangeError for a kind that does not happen at the moment asked for
 */
export function hostile(scripts: HostileScript<HostileKind> | readonly HostileScript<HostileKind>[]): HostileProfile {
  const list = Array.isArray(scripts)
    ? (scripts as readonly HostileScript<HostileKind>[])
    : [scripts as HostileScript<HostileKind>]
  const running = list.map(start)
  let done = 0
  return {
    name: 'hostile',
    get done() {
      return done
    },
    on<Point extends DevicePoint>(point: Point, moment: DeviceMoments[Point], device: DeviceCore | undefined): void {
      for (const item of running) {
        if (item.at !== point || !isAbout(moment, item.script.queue)) continue
        if (item.at === item.misdeed.at && !item.misdeed.fits(moment as never, item.script)) continue
        if (item.wait > 0) item.wait--
        else if (item.left > 0) {
          item.left--
          done++
          item.misdeed.apply(moment as never, item.script, device, item.round++)
        }
      }
    },
  }
}

function start(script: HostileScript<HostileKind>): Running {
  const misdeed: Misdeed = misdeeds[script.kind]
  if (!misdeed) throw new RangeError(`there is no misdeed "${script.kind}"; there are ${hostileKinds.join(', ')}`)
  if (script.at !== undefined && script.at !== misdeed.at && !anywhere.has(script.kind))
    throw new RangeError(`"${script.kind}" happens at "${misdeed.at}", not at "${script.at}"`)
  return {
    script,
    misdeed,
    at: script.at ?? misdeed.at,
    wait: script.after ?? 0,
    left: script.times ?? (misdeed.lasting ? Number.POSITIVE_INFINITY : 1),
    round: 0,
  }
}

/** Whether a moment concerns this queue; those that concern none always do. */
function isAbout(moment: object, queue: number | undefined): boolean {
  if (queue === undefined) return true
  const about: unknown =
    'queue' in moment ? moment.queue : 'ring' in moment ? (moment.ring as { queue: number }).queue : queue
  return about === queue
}
