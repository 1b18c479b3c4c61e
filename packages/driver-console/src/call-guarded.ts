/**
 * Calls what is not ours: a listener, or a stream whose listeners are called in turn. What it throws comes out as an uncaught exception of
 * its own, and does not keep the notification from being served.
 */
export function callGuarded(action: () => void): void {
  try {
    action()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
