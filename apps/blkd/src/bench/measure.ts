import { createHistogram } from 'node:perf_hooks'
import type { BlockDriver } from '@virtio-ts/driver-block'

export interface MeasureOptions {
  readonly write: boolean
  readonly sequential: boolean
  readonly depth: number
  /** Bytes of a request, a multiple of the block size. */
  readonly length: number
  readonly milliseconds: number
}

/** Times in microseconds. */
export interface Latency {
  readonly mean: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export interface Measured {
  readonly requests: number
  readonly seconds: number
  readonly iops: number
  readonly bytesPerSecond: number
  readonly latency: Latency
}

/** Keeps `depth` requests under way until the time is over, or `signal` aborts. */
export async function measure(driver: BlockDriver, options: MeasureOptions, signal: AbortSignal): Promise<Measured> {
  const { write, sequential, depth, length, milliseconds } = options
  const places = Math.floor(driver.capacity / length)
  const histogram = createHistogram()
  let at = 0
  let requests = 0
  const begun = performance.now()
  const end = begun + milliseconds
  const worker = async (): Promise<void> => {
    const bytes = new Uint8Array(length)
    // Noise: a device that compresses or looks for zeroes is to find nothing.
    if (write) for (let i = 0; i < length; i++) bytes[i] = Math.floor(Math.random() * 256)
    while (performance.now() < end && !signal.aborted) {
      const place = sequential ? at++ % places : Math.floor(Math.random() * places)
      const start = performance.now()
      if (write) await driver.write(place * length, bytes)
      else await driver.read(place * length, bytes)
      histogram.record(Math.max(1, Math.round((performance.now() - start) * 1e6)))
      requests++
    }
  }
  await Promise.all(Array.from({ length: depth }, worker))
  const seconds = (performance.now() - begun) / 1000
  const microseconds = (nanoseconds: number): number => Math.round(nanoseconds / 100) / 10
  const percentile = (part: number): number => microseconds(requests === 0 ? 0 : histogram.percentile(part))
  return {
    requests,
    seconds,
    iops: Math.round(requests / seconds),
    bytesPerSecond: Math.round((requests * length) / seconds),
    latency: {
      mean: microseconds(requests === 0 ? 0 : histogram.mean),
      p50: percentile(50),
      p90: percentile(90),
      p99: percentile(99),
      p999: percentile(99.9),
      max: microseconds(requests === 0 ? 0 : histogram.max),
    },
  }
}
