/** Insertions, deletions, replacements and swaps of neighbours that turn `from` into `to`. */
function editDistance(from: string, to: string): number {
  const width = to.length + 1
  const distance = new Uint16Array((from.length + 1) * width)
  for (let i = 0; i <= from.length; i++) distance[i * width] = i
  for (let j = 0; j <= to.length; j++) distance[j] = j
  const at = (i: number, j: number) => distance[i * width + j] ?? 0
  for (let i = 1; i <= from.length; i++) {
    for (let j = 1; j <= to.length; j++) {
      const replaced = from[i - 1] === to[j - 1] ? 0 : 1
      let best = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + replaced)
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1])
        best = Math.min(best, at(i - 2, j - 2) + 1)
      distance[i * width + j] = best
    }
  }
  return at(from.length, to.length)
}

/** The candidate that `typed` was probably meant to be, or undefined when none is near. */
export function suggestion(typed: string, candidates: readonly string[]): string | undefined {
  if (typed.length > 40) return undefined
  const allowed = Math.max(1, Math.floor(typed.length / 3))
  let best: string | undefined
  let bestDistance = allowed + 1
  for (const candidate of candidates) {
    const distance = editDistance(typed.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  // `doc` for `doctor`: far by edits, near for people.
  return best ?? (typed.length >= 2 ? candidates.find((candidate) => candidate.startsWith(typed)) : undefined)
}
