import type { QueueDescriptors, Transport } from '@virtio-ts/core'
import { close, eventfd, read, watchReadable, write } from '@virtio-ts/native'

const ONE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)

export interface SharedTransport {
  readonly transport: Transport
  /** After `transport.close()`. */
  dispose(): void
}

/** A transport of this thread whose queues other threads can serve: a descriptor for each notification, which this thread passes on. */
export function sharedTransport(inner: Transport): SharedTransport {
  const ends: (() => void)[] = []
  const descriptors = new Map<number, QueueDescriptors>()
  const open = (index: number): QueueDescriptors => {
    const known = descriptors.get(index)
    if (known) return known
    const notify = eventfd()
    const used = eventfd()
    const count = new Uint8Array(8)
    const stop = watchReadable(notify, () => {
      if (read(notify, count) === 8) inner.notify(index)
    })
    inner.onUsed(index, () => void write(used, ONE))
    ends.push(
      stop,
      () => close(notify),
      () => close(used),
    )
    const made = { notify, used }
    descriptors.set(index, made)
    return made
  }
  const transport = new Proxy(inner, {
    get(target, name) {
      if (name === 'queueDescriptors') return open
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { transport, dispose: () => ends.splice(0).forEach((end) => end()) }
}
