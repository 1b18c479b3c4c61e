/** Adds up the counters of several parts, name by name. */
export function sumStats(parts: readonly { addStats(stats: Record<string, number>): void }[]): Record<string, number> {
  const sum: Record<string, number> = {}
  for (const part of parts) {
    const stats: Record<string, number> = {}
    part.addStats(stats)
    for (const [name, value] of Object.entries(stats)) sum[name] = (sum[name] ?? 0) + value
  }
  return sum
}
