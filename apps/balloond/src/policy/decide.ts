/** What the owner of the machine allows. Pages are 4096 bytes. */
export interface BalloonLimits {
  /** Pages that stay in the balloon under pressure too, as long as the device wants them. */
  readonly min: number
  /** Pages in the balloon at most. */
  readonly max: number
  /** Pages added or taken out in one interval at most. */
  readonly step: number
  /** Bytes of memory that are to remain available here. */
  readonly reserve: number
  /** Percent of time in which work waited for memory: at `high` there is pressure, until it is down to `low`. */
  readonly high: number
  readonly low: number
}

/** How things are. */
export interface Observation {
  /** Pages the device wants. */
  readonly target: number
  /** Pages in the balloon. */
  readonly actual: number
  /** Whether pages may come out that the device wants: DEFLATE_ON_OOM. */
  readonly mayDeflate: boolean
  /** Percent of the last ten seconds in which work waited for memory; undefined where the system does not tell. */
  readonly pressure: number | undefined
  /** Bytes that could be had without swapping; undefined where the system does not tell. */
  readonly available: number | undefined
}

/** What has to be remembered from one decision to the next. */
export interface PolicyState {
  readonly pressed: boolean
  /** Intervals without any pressure, up to `CALM`. */
  readonly calm: number
}

export interface Decision {
  /** Pages in the balloon at most from now on. */
  readonly limit: number
  readonly state: PolicyState
}

/** Intervals without any pressure after which the balloon may grow again. */
export const CALM = 5
/** How much more than the reserve has to be available for the pressure to be over, and for the balloon to grow. */
const SLACK = 1.25
const PAGE = 4096

/** At the start nobody has waited for memory. */
export const initialState: PolicyState = { pressed: false, calm: CALM }

/**
 * What to do now: under pressure the balloon shrinks, step by step and not below `min`; while it is not over the balloon does not grow; else
 * it grows towards what the device wants, step by step, not above `max` and not into the reserve. What the device does not want goes back at once.
 */
export function decide(state: PolicyState, seen: Observation, limits: BalloonLimits): Decision {
  const next = judge(state, seen, limits)
  const wanted = Math.min(seen.target, limits.max)
  return { limit: Math.min(wanted, goal(next, seen, limits)), state: next }
}

function judge(state: PolicyState, seen: Observation, { reserve, high, low }: BalloonLimits): PolicyState {
  const { pressure = 0, available = Number.POSITIVE_INFINITY } = seen
  const relieved = pressure <= low && available >= reserve * SLACK
  const pressed = pressure >= high || available < reserve || (state.pressed && !relieved)
  return { pressed, calm: relieved && !pressed ? Math.min(state.calm + 1, CALM) : 0 }
}

function goal(state: PolicyState, { actual, available, mayDeflate }: Observation, limits: BalloonLimits): number {
  const { min, step, reserve } = limits
  if (state.pressed) return mayDeflate ? Math.max(Math.min(actual, min), actual - step) : actual
  if (state.calm < CALM) return actual
  const room = available === undefined ? step : Math.max(0, Math.floor((available - reserve * SLACK) / PAGE))
  return actual + Math.min(step, room)
}
