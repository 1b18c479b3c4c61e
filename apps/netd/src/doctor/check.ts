import type { Machine } from './machine.ts'

/** `fail`: netd run cannot work. `warn`: some feature cannot. */
type CheckStatus = 'pass' | 'warn' | 'fail'

/** What one check found, as `netd doctor --json` prints it. */
export interface CheckResult {
  /** Stable: `tun`, `permission`. */
  readonly id: string
  readonly status: CheckStatus
  /** What is there or is not, and what that means. */
  readonly summary: string
  /** The command that mends it. */
  readonly fix?: string
}

export type Check = (machine: Machine) => Promise<CheckResult> | CheckResult

export function pass(id: string, summary: string): CheckResult {
  return { id, status: 'pass', summary }
}

export function warn(id: string, summary: string, fix: string): CheckResult {
  return { id, status: 'warn', summary, fix }
}

export function fail(id: string, summary: string, fix: string): CheckResult {
  return { id, status: 'fail', summary, fix }
}
