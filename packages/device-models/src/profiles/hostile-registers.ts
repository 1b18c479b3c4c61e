import { NetConfig } from '@virtio-ts/spec'
import { lasting, type Misdeed, misdeed } from './hostile-script.ts'

const FEATURES_OK = 8
const { MAC } = NetConfig

export type HostileRegisterKind =
  | 'needs-reset'
  | 'reset-never'
  | 'reset-slow'
  | 'features-refused'
  | 'features-ok-hidden'
  | 'features-flip'
  | 'features-all'
  | 'queue-size-0'
  | 'queue-size-odd'
  | 'queue-size-huge'
  | 'queue-size-flip'
  | 'queue-count'
  | 'queue-reset-never'
  | 'notify-off'
  | 'vector-refused'
  | 'config-tear'
  | 'config-unstable'
  | 'generation-storm'
  | 'config-garbage'
  | 'gone'

/** Misdeeds in the registers. */
export const hostileRegisters: Readonly<Record<HostileRegisterKind, Misdeed>> = {
  /** DEVICE_NEEDS_RESET is set: at a notification, or at any moment that `at` names. */
  'needs-reset': misdeed('notify', (_moment, _script, device) => device?.needsReset('scripted')),
  /** Writing 0 to the status does nothing: the device works on. */
  'reset-never': lasting('reset', (moment) => {
    moment.done = false
  }),
  /** The status goes on reading what it was for `times` reads after a reset. @param value what it reads; 0x0f when left out */
  'reset-slow': misdeed(
    'status-read',
    (moment, { value }) => {
      moment.status = value ?? 0x0f
    },
    ({ status }) => status === 0,
  ),
  /** FEATURES_OK does not stand. */
  'features-refused': lasting('accept', (moment) => {
    moment.ok = false
  }),
  /** FEATURES_OK reads as unset, though the device took it. */
  'features-ok-hidden': lasting('status-read', (moment) => {
    moment.status &= ~FEATURES_OK
  }),
  /** The offered features are others than before: without bit `value`, or without all but every second. */
  'features-flip': lasting('features', (moment, { value }) => {
    moment.features &= value === undefined ? 0x5555555555555555n : ~(1n << BigInt(value))
  }),
  /** Every bit is offered, whatever it means. */
  'features-all': lasting('features', (moment) => {
    moment.features = (1n << 64n) - 1n
  }),
  'queue-size-0': lasting('queue-size', (moment) => {
    moment.size = 0
  }),
  /** A size that is no power of two: `value`, or one less than the right one. */
  'queue-size-odd': lasting('queue-size', (moment, { value }) => {
    if (moment.size > 0) moment.size = value ?? moment.size - 1
  }),
  /** A size beyond what a split queue may have: `value`, or 65535. */
  'queue-size-huge': lasting('queue-size', (moment, { value }) => {
    if (moment.size > 0) moment.size = value ?? 0xffff
  }),
  /** Another size at every read. */
  'queue-size-flip': lasting('queue-size', (moment, _script, _device, round) => {
    moment.size >>>= round & 1
  }),
  /** num_queues says `value`, or 0. */
  'queue-count': lasting('queue-count', (moment, { value }) => {
    moment.count = value ?? 0
  }),
  'queue-reset-never': lasting('queue-reset', (moment) => {
    moment.done = false
  }),
  /** queue_notify_off leads out of the BAR: `value`, or 65535. */
  'notify-off': lasting('notify-offset', (moment, { value }) => {
    moment.offset = value ?? 0xffff
  }),
  /** A vector cannot be mapped. */
  'vector-refused': lasting('vector', (moment) => {
    moment.vector = 0xffff
  }),
  /** The address changes, as it may, between the reading of two of its bytes: right behind byte `value`, or the third. */
  'config-tear': misdeed(
    'config-read',
    ({ config, change }) =>
      change(
        MAC,
        config.slice(MAC, MAC + 6).map((byte) => byte ^ 0x50),
      ),
    ({ offset, width }, { value = 2 }) => offset <= MAC + value && offset + width > MAC + value,
  ),
  /** Every read gives another value, and the generation stands still. */
  'config-unstable': lasting('config-read', (moment, _script, _device, round) => {
    moment.value = (moment.value ^ (round & 0xff)) >>> 0
  }),
  /** Every read finds another generation. */
  'generation-storm': lasting('generation', (moment, _script, _device, round) => {
    moment.generation = round & 0xff
  }),
  /** The configuration reads as `value` in every byte, or all-ones. */
  'config-garbage': lasting('config-read', (moment, { value }) => {
    moment.value = (((value ?? 0xff) * 0x01010101) & (2 ** (8 * moment.width) - 1)) >>> 0
  }),
  /** The device does not answer any more, and nothing says so: registers read as all-ones from here on. */
  gone: lasting('access', (moment) => {
    moment.gone = true
    moment.announced = false
  }),
}
