import type { DeviceCore } from '../device-core.ts'
import type { DeviceQueue } from '../device-queue.ts'

/**
 * Works on a ring that is started and not enabled: without effect on anybody. Buffers with data for the device are given back unread;
 * those that wait for data go on waiting. "Ring states"
 */
export function discardReadable(core: DeviceCore, queue: DeviceQueue): void {
  queue.enabled = true
  const ring = core.ring(queue.index)
  queue.enabled = false
  if (!ring) return
  for (let left = ring.size; left > 0; left--) {
    const chain = ring.take()
    if (!chain) break
    if (chain.writableLength > 0) {
      ring.untake([chain])
      break
    }
    ring.push(chain, 0)
  }
  ring.requestNotifications()
  ring.flush()
}
