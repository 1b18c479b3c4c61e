import type { BlockLimits } from './block-limits.ts'
import { type BlockOptions, DEFAULT_IN_FLIGHT, DEFAULT_STAGING } from './block-options.ts'
import type { BlockDevice } from './request-channel.ts'
import { StagingPool } from './staging-pool.ts'

/** Bytes of one staging buffer: small enough not to waste, large enough where a request has but one. */
const BUFFER = 16 * 1024
const LONE_BUFFER = 64 * 1024

export interface StagingNeeds {
  readonly limits: BlockLimits
  /** Data buffers of one request, at most. */
  readonly segMax: number
  /** What the length of a request is a multiple of, in bytes. */
  readonly unit: number
  readonly options: BlockOptions
}

/** The memory of a driver, as its device and its options want it. */
export function stagingFor(device: BlockDevice, { limits, segMax, unit, options }: StagingNeeds): StagingPool {
  // Small, but so long that a request can carry a block in as many as it may have.
  const bufferLength = Math.min(limits.sizeMax, Math.max(segMax === 1 ? LONE_BUFFER : BUFFER, Math.ceil(unit / segMax)))
  return new StagingPool({
    allocate: (length) => device.allocate(length),
    slots: options.maxInFlight ?? DEFAULT_IN_FLIGHT,
    memory: Math.max(options.stagingMemory ?? DEFAULT_STAGING, 2 * (unit + bufferLength)),
    bufferLength,
  })
}
