/** What the process answers with; stable, because people script it. */
export const ExitCode = {
  OK: 0,
  ERROR: 1,
  USAGE: 2,
  /** The device, or the netd asked for, is not there. */
  UNAVAILABLE: 69,
  CANNOT_CREATE_TAP: 73,
  /** May work when tried again: a supervisor restarts. */
  TEMPORARY: 75,
  PERMISSION: 77,
  /** It would cut this machine off or delete something: `--force` does it. */
  NEEDS_FORCE: 78,
  /** Only for a second signal; the first one stops in order and ends with 0. */
  SIGINT: 130,
  SIGTERM: 143,
} as const

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]
