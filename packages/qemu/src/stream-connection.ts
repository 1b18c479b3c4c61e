import type { Qmp } from './qmp.ts'
import type { QmpWait } from './qmp-client.ts'

/**
 * Waits until QEMU has connected its stream netdevs. It does so in a thread of its own, and until then drops what a card
 * transmits, even where the connection was handed over ready.
 *
 * @param ids of netdevs
 * @throws as `Qmp.next`
 */
export async function streamsConnected(qmp: Qmp, ids: readonly string[], { timeout, signal }: QmpWait): Promise<void> {
  if (ids.length === 0) return
  const unneeded = new AbortController()
  const signals = signal === undefined ? unneeded.signal : AbortSignal.any([signal, unneeded.signal])
  const connections = ids.map((id) => {
    const event = qmp.next('NETDEV_STREAM_CONNECTED', (data) => data['netdev-id'] === id, { timeout, signal: signals })
    event.catch(() => {})
    return { id, event }
  })
  try {
    // Asked for before it may have come, the event cannot be missed; one that came before shows here.
    const network = await qmp.human('info network', { timeout, signal })
    for (const { id, event } of connections) if (!isConnected(network, id)) await event
  } finally {
    unneeded.abort()
  }
}

/** @param network what QEMU's `info network` says: an address behind the type once there is a connection */
function isConnected(network: string, id: string): boolean {
  const line = network.split('\n').find((text) => text.replace(/^ \\ /, '').startsWith(`${id}: `))
  return /,type=stream,(unix|fd|inet|tcp)\b/.test(line ?? '')
}
