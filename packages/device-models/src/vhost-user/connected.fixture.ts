import { openFdCount } from '@virtio-ts/native'
import { afterEach, beforeEach, expect } from 'vitest'
import type { DeviceModel } from '../device-model.ts'
import { RawFrontEnd } from './raw-front-end.fixture.ts'
import { VhostUserBackEnd } from './vhost-user-back-end.ts'
import type { VhostUserOptions } from './vhost-user-options.ts'

export const VERSION_1: bigint = 1n << 32n
export const EVENT_IDX: bigint = 1n << 29n
export const RING_PACKED: bigint = 1n << 34n
export const PROTOCOL = {
  MQ: 1n << 0n,
  REPLY_ACK: 1n << 3n,
  NET_MTU: 1n << 4n,
  BACKEND_REQ: 1n << 5n,
  CONFIG: 1n << 9n,
  INFLIGHT_SHMFD: 1n << 12n,
  RESET_DEVICE: 1n << 13n,
  INBAND_NOTIFICATIONS: 1n << 14n,
  CONFIGURE_MEM_SLOTS: 1n << 15n,
  STATUS: 1n << 16n,
} as const

/**
 * Has each test of a file count descriptors and close what it opened.
 * @returns makes a model's back-end and a front-end at the other end of its socket
 */
export function connections(): <Model extends DeviceModel>(
  model: Model,
  options?: VhostUserOptions,
) => { mine: RawFrontEnd; backEnd: VhostUserBackEnd<Model> } {
  const open: { close(): void }[] = []
  let before = 0
  beforeEach(() => {
    before = openFdCount()
  })
  afterEach(() => {
    for (const item of open.splice(0)) item.close()
    expect(openFdCount()).toBe(before)
  })
  return (model, options) => {
    const { mine, theirs } = RawFrontEnd.pair()
    const backEnd = VhostUserBackEnd.attach(model, theirs, options)
    open.push(mine, backEnd)
    return { mine, backEnd }
  }
}
