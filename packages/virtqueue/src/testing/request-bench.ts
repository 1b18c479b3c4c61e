import type { DmaRegion } from '@virtio-ts/memory'
import { VirtioError } from '@virtio-ts/spec'
import { RequestQueue, type RequestQueueOptions } from '../request-queue.ts'
import { type BenchOptions, type RingBench, ringBench } from './ring-bench.ts'

export interface Bench extends RingBench {
  readonly requests: RequestQueue
  readonly region: DmaRegion
  /** A request of one writable buffer of 64 bytes, with what becomes of it. */
  send(signal?: AbortSignal): Sent
  /** Ids of what the device was given since the last call. */
  take(): number[]
}

export interface Sent {
  readonly settled: Promise<{ written: number } | { reason: unknown }>
  released: number
  outcome: { written: number } | { reason: unknown } | undefined
}

/** A request queue over a bench's virtqueue. */
export function requestBench(options: BenchOptions = {}, queueOptions: RequestQueueOptions = {}): Bench {
  const bench = ringBench(options)
  const requests = new RequestQueue(bench.queue, queueOptions)
  const region = bench.allocator.allocate(4096)
  return Object.assign(bench, {
    requests,
    region,
    take: () => bench.device.take().map(({ id }) => id),
    send(signal?: AbortSignal): Sent {
      const promise = requests.request(
        { writable: [{ region, offset: 0, length: 64 }] },
        { onReleased: () => sent.released++, ...(signal && { signal }) },
      )
      const sent: Sent = {
        released: 0,
        outcome: undefined,
        settled: promise.then(
          (written) => (sent.outcome = { written }),
          (reason: unknown) => (sent.outcome = { reason }),
        ),
      }
      return sent
    },
  })
}

/** Lets everything run that is waiting to: reactions, and what was put off to the next turn of the event loop. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
export const reset: VirtioError = new VirtioError('device.reset', 'The device was reset.')
