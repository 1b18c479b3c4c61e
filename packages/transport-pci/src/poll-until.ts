const IMMEDIATE_TURNS = 8
const LONGEST_PAUSE_MS = 32

/**
 * Asks `done` until it says true or `timeoutMs` have passed: at once, then on the next turns of the event loop, then at
 * growing intervals, so that a device in this very process gets its turn and a slow one costs nothing.
 * @returns whether `done` said true
 */
export async function pollUntil(done: () => boolean, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  let pause = 1
  for (let turn = 0; !done(); turn++) {
    const left = deadline - performance.now()
    if (left <= 0) return false
    if (turn < IMMEDIATE_TURNS) await new Promise((resolve) => setImmediate(resolve))
    else {
      const wait = Math.min(pause, left)
      await new Promise((resolve) => setTimeout(resolve, wait))
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS)
    }
  }
  return true
}
