/** Parts of one operation that are with the device at a time: enough to keep it busy, few enough to leave room for others. */
export const PARTS_AT_A_TIME = 8

/**
 * Runs `run` on every part, some at a time. After a failure no new ones are begun; rejects with the first failure in order of the parts,
 * and only when every part that was begun has ended: nothing touches the caller's memory afterwards.
 */
export async function eachPart<Part>(
  parts: Iterable<Part>,
  atATime: number,
  run: (part: Part) => Promise<void>,
): Promise<void> {
  const iterator = parts[Symbol.iterator]()
  let begun = 0
  let failedAt = Number.POSITIVE_INFINITY
  let failure: unknown
  const worker = async (): Promise<void> => {
    while (failedAt === Number.POSITIVE_INFINITY) {
      const next = iterator.next()
      if (next.done) return
      const order = begun++
      try {
        await run(next.value)
      } catch (error) {
        if (order > failedAt) continue
        failedAt = order
        failure = error
      }
    }
  }
  await Promise.all(Array.from({ length: atATime }, worker))
  if (failedAt !== Number.POSITIVE_INFINITY) throw failure
}
