import { VirtioError } from '@virtio-ts/spec'

/** Where it happened, for messages and metrics. */
export interface RingOrigin {
  readonly queue: number
  readonly device?: string
  readonly generation?: number
}

export function ringOrigin(options: {
  readonly index: number
  readonly device?: string
  readonly generation?: number
}): RingOrigin {
  const { index, device, generation } = options
  return { queue: index, ...(device !== undefined && { device }), ...(generation !== undefined && { generation }) }
}

/** The first four are violations by the device. */
export type RingErrorCode =
  | 'ring.id-range'
  | 'ring.not-head'
  | 'ring.idx-jump'
  | 'ring.length'
  | 'ring.size'
  | 'ring.released'
  | 'ring.in-use'

type Numbers = Readonly<Record<string, number>>

const stopped = 'The queue is stopped: reset the device.'

/** What happened and what to do. */
const messages: Readonly<Record<RingErrorCode, (detail: Numbers) => string>> = {
  'ring.id-range': ({ id, size }) => `the device returned id ${id}, the ring has ${size} descriptors. ${stopped}`,
  'ring.not-head': ({ id }) => `the device returned id ${id}, no chain it holds has that id. ${stopped}`,
  'ring.idx-jump': ({ jump, outstanding }) =>
    `the device moved the used idx by ${jump} while it held ${outstanding} chains. ${stopped}`,
  'ring.length': ({ id, written, capacity }) =>
    `the device claims to have written ${written} bytes to chain ${id}, which has room for ${capacity}. ${stopped} ` +
    `For a device known to be careless: trust 'tolerant'.`,
  'ring.size': ({ size }) =>
    `a ring cannot have ${size} descriptors. Ask for 1 to 32768, for a split ring a power of two.`,
  'ring.released': () => 'its memory was given back. Initialise the device again for a new queue.',
  'ring.in-use': () =>
    'chains were added to it, or another thread has it. Only a fresh queue can be handed over: before its first chain, or after a reset.',
}

/** @param detail the numbers of the case: those read from the device, or asked for */
export function ringError(code: RingErrorCode, origin: RingOrigin, detail: Numbers = {}): VirtioError {
  return new VirtioError(code, `Queue ${origin.queue}: ${messages[code](detail)}`, { ...origin, detail })
}
