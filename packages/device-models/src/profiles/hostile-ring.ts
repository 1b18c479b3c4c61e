import { SplitRing } from '@virtio-ts/spec'
import type { DeviceMoments } from '../device-profile.ts'
import { lasting, type Misdeed, misdeed } from './hostile-script.ts'

type Used = DeviceMoments['used']

const first = (moment: Used): Used['elements'][number] | undefined => moment.elements[0]

/** A descriptor that heads no chain the device has: the one behind it, or any other. */
function strayId({ ring, elements }: Used): number {
  const heads = new Set(elements.map((element) => element.id))
  for (let slot = 0; slot < ring.size; slot++) heads.add(availableHead(ring.driverArea, slot))
  for (let id = ring.size - 1; id > 0; id--) if (!heads.has(id)) return id
  return ring.size - 1
}

function availableHead(driverArea: Uint8Array, slot: number): number {
  const at = SplitRing.AVAIL_RING + 2 * slot
  return (driverArea[at] ?? 0) | ((driverArea[at + 1] ?? 0) << 8)
}

export type HostileRingKind =
  | 'id-range'
  | 'id-alias'
  | 'not-head'
  | 'duplicate'
  | 'length-over'
  | 'length-under'
  | 'idx-jump'
  | 'idx-back'
  | 'scribble-descriptors'
  | 'scribble-available'
  | 'event-garbage'
  | 'never-complete'
  | 'deaf'
  | 'interrupt-lost'
  | 'interrupt-storm'
  | 'interrupt-early'
  | 'used-after-reset'

/** Misdeeds in the rings. */
export const hostileRing: Readonly<Record<HostileRingKind, Misdeed>> = {
  /** A used id outside the queue: `value`, or the queue size. */
  'id-range': misdeed('used', (moment, { value }) => {
    const element = first(moment)
    if (element) element.id = value ?? moment.ring.size
  }),
  /** The right id with higher bits set, for those who look at 16 bits only. */
  'id-alias': misdeed('used', (moment, { value }) => {
    const element = first(moment)
    if (element) element.id += (value ?? 1) * 0x10000
  }),
  /** An id within the queue that heads no chain: `value`, or one found. */
  'not-head': misdeed('used', (moment, { value }) => {
    const element = first(moment)
    if (element) element.id = value ?? strayId(moment)
  }),
  /** The same buffer twice. */
  duplicate: misdeed('used', ({ elements }) => {
    const [element] = elements
    if (element) elements.push({ ...element })
  }),
  /** More written than the buffer holds: `value`, or 2^32 - 1. */
  'length-over': misdeed('used', (moment, { value }) => {
    const element = first(moment)
    if (element) element.length = value ?? 0xffffffff
  }),
  /** Less written than the header is long: `value`, or 0. */
  'length-under': misdeed('used', (moment, { value }) => {
    const element = first(moment)
    if (element) element.length = value ?? 0
  }),
  /** The used index runs ahead of what was used: by `value`, or by one more than the queue holds. */
  'idx-jump': misdeed('publish', (moment, { value }) => {
    moment.index = (moment.index + (value ?? moment.ring.size + 1)) & 0xffff
  }),
  /** The used index goes back: by `value`, or to one before where it was. */
  'idx-back': misdeed('publish', (moment, { value }) => {
    moment.index = (moment.previous - (value ?? 1)) & 0xffff
  }),
  /** The descriptor table is overwritten with `value`, or with rubbish. */
  'scribble-descriptors': misdeed('used', ({ ring }, { value }) =>
    ring.scribble((offset) => value ?? (offset * 31 + 7) & 0xff),
  ),
  /** The available ring is overwritten with `value`, or with rubbish; its flags and index too. */
  'scribble-available': misdeed('publish', ({ ring }, { value }) => {
    ring.driverArea.forEach((_, offset) => {
      ring.driverArea[offset] = value ?? (offset * 29 + 3) & 0xff
    })
  }),
  /** The used flags and avail_event say anything: `value` as 16 bits, or rubbish. */
  'event-garbage': lasting('publish', ({ ring }, { value }) => {
    const garbage = value ?? 0xa5a5
    const event = ring.deviceArea.length - 2
    ring.deviceArea.set([garbage & 0xff, garbage >>> 8], 0)
    ring.deviceArea.set([garbage & 0xff, garbage >>> 8], event)
  }),
  /** Buffers are taken and never come back. */
  'never-complete': lasting('used', ({ elements }) => {
    elements.length = 0
  }),
  /** Notifications are not heard: nothing is taken any more. */
  deaf: lasting('notify', (moment) => {
    moment.ignored = true
  }),
  /** Used buffer notifications and configuration changes get lost. */
  'interrupt-lost': lasting('interrupt', (moment) => {
    moment.times = 0
  }),
  /** `value` interrupts, or 1000, one a turn of the event loop, for nothing. */
  'interrupt-storm': misdeed('interrupt', ({ queue }, { value }, device) => {
    let left = value ?? 1000
    const again = (): void => {
      if (left-- <= 0 || !device?.driverOk) return
      device.interrupt(queue)
      setImmediate(again)
    }
    setImmediate(again)
  }),
  /** An interrupt before DRIVER_OK, when the driver moves the status. */
  'interrupt-early': lasting('status-write', (_moment, { queue }, device) => device?.interrupt(queue ?? 0)),
  /** A used element and an interrupt come after the reset was confirmed, on the next turn of the event loop. */
  'used-after-reset': misdeed('reset', (_moment, { queue }, device) => {
    const ring = device?.queues[queue ?? 0]?.ring
    setImmediate(() => {
      if (!ring) return
      const index = ((ring.deviceArea[2] ?? 0) | ((ring.deviceArea[3] ?? 0) << 8)) + 1
      ring.deviceArea.set([index & 0xff, (index >>> 8) & 0xff], 2)
      device?.interrupt(queue ?? 0)
    })
  }),
}
