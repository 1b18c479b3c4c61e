/**
 * Calls someone else's function so that nothing it throws reaches the ring's own code. The error is not swallowed: it comes
 * out on its own, as an uncaught exception, after the caller has finished.
 */
export function callListener<Arguments extends readonly unknown[]>(
  listener: (...args: Arguments) => void,
  ...args: Arguments
): void {
  try {
    listener(...args)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
