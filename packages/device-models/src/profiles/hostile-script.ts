import type { DeviceCore } from '../device-core.ts'
import type { DeviceMoments, DevicePoint } from '../device-profile.ts'

/** One misdeed. */
export interface HostileScript<Kind extends string = string> {
  readonly kind: Kind
  /** The moment at which it happens; each kind has its own, and only `needs-reset`, `gone` and `reset` go with others. */
  readonly at?: DevicePoint
  /** Moments of that sort that pass before. @defaultValue 0 */
  readonly after?: number
  /** How often it happens then. @defaultValue 1, and for ever for what is a state rather than an event */
  readonly times?: number
  /** Only at moments of this queue (-1: configuration changes). */
  readonly queue?: number
  /** What a kind takes as its parameter: see its description. */
  readonly value?: number
}

/** What a misdeed does, and when. */
export interface Misdeed<Point extends DevicePoint = DevicePoint> {
  readonly at: Point
  /** A state: goes on until somebody says how often. */
  readonly lasting: boolean
  /** Whether the misdeed can be done to this moment; others do not count. */
  fits(moment: DeviceMoments[Point], script: HostileScript): boolean
  /** @param round how often it was done before */
  apply(moment: DeviceMoments[Point], script: HostileScript, device: DeviceCore | undefined, round: number): void
}

type Apply<Point extends DevicePoint> = Misdeed<Point>['apply']
type Fits<Point extends DevicePoint> = Misdeed<Point>['fits']

/** An event. Ties the moment's type to the point; the table of misdeeds does not need to know it. */
export function misdeed<Point extends DevicePoint>(
  at: Point,
  apply: Apply<Point>,
  fits: Fits<Point> = () => true,
): Misdeed {
  return { at, lasting: false, apply: apply as Misdeed['apply'], fits: fits as Misdeed['fits'] }
}

/** A state. */
export function lasting<Point extends DevicePoint>(at: Point, apply: Apply<Point>, fits?: Fits<Point>): Misdeed {
  return { ...misdeed(at, apply, fits), lasting: true }
}
