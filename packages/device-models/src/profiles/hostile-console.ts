import { ConsoleControl } from '@virtio-ts/spec'
import type { DeviceMoments } from '../device-profile.ts'
import { type Misdeed, misdeed } from './hostile-script.ts'

export type HostileConsoleKind =
  | 'control-short'
  | 'control-event'
  | 'control-port'
  | 'control-twice'
  | 'control-lost'
  | 'port-name'

type Message = DeviceMoments['console-control']

function change(moment: Message, apply: (view: DataView) => void): void {
  const bytes = moment.bytes.slice()
  apply(new DataView(bytes.buffer))
  moment.bytes = bytes
}

const eventOf = ({ bytes }: Message): number => new DataView(bytes.buffer, bytes.byteOffset).getUint16(4, true)

/** Misdeeds of a console device, in its control messages. */
export const hostileConsole: Readonly<Record<HostileConsoleKind, Misdeed>> = {
  /** The message ends after `value` bytes, or 3. */
  'control-short': misdeed('console-control', (moment, { value }) => {
    moment.bytes = moment.bytes.slice(0, value ?? 3)
  }),
  /** An event that nothing defines: `value`, or 0x7777. */
  'control-event': misdeed('console-control', (moment, { value }) =>
    change(moment, (view) => view.setUint16(ConsoleControl.EVENT, value ?? 0x7777, true)),
  ),
  /** A port that cannot be: `value`, or 2^32 - 1. */
  'control-port': misdeed('console-control', (moment, { value }) =>
    change(moment, (view) => view.setUint32(ConsoleControl.ID, value ?? 0xffffffff, true)),
  ),
  /** The same message `value` times, or twice. */
  'control-twice': misdeed('console-control', (moment, { value }) => {
    moment.copies = value ?? 2
  }),
  /** A buffer comes back with nothing in it. */
  'control-lost': misdeed('console-control', (moment) => {
    moment.bytes = new Uint8Array(0)
  }),
  /** A name that is no UTF-8, moves the cursor, and fills whatever buffer there is. */
  'port-name': misdeed(
    'console-control',
    (moment) => {
      const bytes = new Uint8Array(70_000).fill(0xff)
      bytes.set(moment.bytes.subarray(0, ConsoleControl.LENGTH))
      bytes.set([0x1b, 0x5b, 0x32, 0x4a, 0x0a, 0x9b], ConsoleControl.LENGTH)
      moment.bytes = bytes
    },
    (moment) => eventOf(moment) === ConsoleControl.PORT_NAME,
  ),
}
