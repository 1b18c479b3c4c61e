/** Nanoseconds since 1970, steady within a thread. */
export function captureTime(): bigint {
  return BigInt(Math.round(performance.timeOrigin * 1e6)) + BigInt(Math.round(performance.now() * 1e6))
}
