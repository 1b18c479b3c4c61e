/** One listener for each signal of a caller, however many operations it is given to: Node warns of more than ten. */
const links = new WeakMap<AbortSignal, Set<AbortController>>()

/** Runs `operation` with a signal of its own that aborts when `signal` does. */
export async function linked<T>(
  signal: AbortSignal | undefined,
  operation: (own: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  if (!signal) return operation(undefined)
  const own = new AbortController()
  const link = linkOf(signal)
  link.add(own)
  try {
    return await operation(own.signal)
  } finally {
    link.delete(own)
  }
}

function linkOf(signal: AbortSignal): Set<AbortController> {
  const known = links.get(signal)
  if (known) return known
  const link = new Set<AbortController>()
  links.set(signal, link)
  signal.addEventListener('abort', () => {
    for (const controller of [...link]) controller.abort(signal.reason)
  })
  return link
}
