/** Shorter stretches of zeroes are sent as they are: a chunk of its own costs more. */
const GRANULE = 16 * 1024
const zeroes: Uint8Array = new Uint8Array(64 * 1024)

export interface ZeroRun {
  /** Where it begins in the bytes. */
  readonly start: number
  /** Where the next one begins. */
  readonly end: number
  readonly zero: boolean
}

/**
 * Cuts `bytes` into stretches that are all zeroes and others, in turn.
 * @param granule bytes: what begins at a multiple of it is zero as a whole, or is not. @defaultValue 16 KiB
 */
export function zeroRuns(bytes: Uint8Array, granule: number = GRANULE): ZeroRun[] {
  const runs: ZeroRun[] = []
  for (let start = 0; start < bytes.length; start += granule) {
    const end = Math.min(bytes.length, start + granule)
    const zero = isZero(bytes, start, end)
    const last = runs.at(-1)
    if (last?.zero === zero) runs[runs.length - 1] = { ...last, end }
    else runs.push({ start, end, zero })
  }
  return runs
}

function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  // Most data shows at once that it is none.
  if (bytes[start] !== 0) return false
  for (let at = start; at < end; at += zeroes.length) {
    const piece = bytes.subarray(at, Math.min(end, at + zeroes.length))
    if (Buffer.compare(piece, zeroes.subarray(0, piece.length)) !== 0) return false
  }
  return true
}
