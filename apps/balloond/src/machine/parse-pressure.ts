/** What a PSI file says of the last ten seconds, in percent. */
export interface Pressure {
  /** Of the time, some work waited. */
  readonly some: number
  /** All work waited. */
  readonly full: number
}

/**
 * Reads `/proc/pressure/memory`, or the `memory.pressure` of a cgroup.
 * @returns undefined for a text that is none
 */
export function parsePressure(text: string): Pressure | undefined {
  const some = average(text, 'some')
  return some === undefined ? undefined : { some, full: average(text, 'full') ?? 0 }
}

/** `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`; kernels may add fields. */
function average(text: string, line: 'some' | 'full'): number | undefined {
  const [, number] =
    new RegExp(`^${line} (?:[^\\n]* )?avg10=([0-9]{1,3}(?:\\.[0-9]{1,6})?)(?: |$)`, 'm').exec(text) ?? []
  const percent = Number(number)
  return number === undefined || percent > 100 ? undefined : percent
}
