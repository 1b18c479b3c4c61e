import type { VirtioError } from '@virtio-ts/spec'
import type { ReceivedPacket } from './received-packet.ts'

/** What is needed of a driver. */
export interface FrameSource {
  receive(sink: (packet: ReceivedPacket) => void, budget: number): number
  onReceive(listener: () => void): void
  armReceive(): boolean
  on(event: 'fault', listener: (reason: VirtioError) => void): () => void
}

export interface ReceivedFramesOptions {
  /** Ends the iteration, as `close()` does. */
  readonly closed: AbortSignal
  readonly signal: AbortSignal | undefined
  /** There are no notifications: look again and again. */
  readonly polled: boolean
}

const BUDGET = 64
/** Milliseconds between two looks. */
const POLL_INTERVAL = 1

/** Frames as copies, one after the other. While its consumer is busy packets stay in the ring, and beyond that the device drops them. */
export async function* receivedFrames(
  source: FrameSource,
  options: ReceivedFramesOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const { closed, signal, polled } = options
  const frames: Uint8Array[] = []
  let wake = (): void => {}
  let fault: VirtioError | undefined
  const rouse = (): void => wake()
  const stopListening = source.on('fault', (reason) => {
    fault = reason
    wake()
  })
  source.onReceive(rouse)
  signal?.addEventListener('abort', rouse)
  closed.addEventListener('abort', rouse)
  try {
    while (!closed.aborted) {
      signal?.throwIfAborted()
      source.receive((packet) => frames.push(packet.toFrame()), BUDGET)
      yield* frames.splice(0)
      if (fault) throw fault
      if (closed.aborted || signal?.aborted || source.armReceive()) continue
      await new Promise<void>((resolve) => {
        wake = resolve
        if (polled) setTimeout(resolve, POLL_INTERVAL)
      })
    }
  } finally {
    stopListening()
    source.onReceive(() => {})
    signal?.removeEventListener('abort', rouse)
    closed.removeEventListener('abort', rouse)
  }
}
