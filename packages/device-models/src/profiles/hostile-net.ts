import { NetHeader } from '@virtio-ts/spec'
import type { DeviceMoments } from '../device-profile.ts'
import { lasting, type Misdeed, misdeed } from './hostile-script.ts'
import { firstBytes } from './sloppy.ts'

/** Rewrites the header that lies in the driver's first buffer. */
function rewrite({ chains, headerLength }: DeviceMoments['receive'], change: (header: DataView) => void): void {
  const [chain] = chains
  if (!chain) return
  // Room for all of the long header, even where the driver has only the short one.
  const bytes = new Uint8Array(NetHeader.LENGTH)
  bytes.set(firstBytes(chain.writable, headerLength))
  change(new DataView(bytes.buffer))
  chain.write(bytes.subarray(0, headerLength))
}

const numBuffers = (moment: DeviceMoments['receive'], value: number): void =>
  rewrite(moment, (header) => header.setUint16(NetHeader.NUM_BUFFERS, value, true))

export type HostileNetKind =
  | 'num-buffers-0'
  | 'num-buffers-huge'
  | 'fragments-missing'
  | 'fragment-empty'
  | 'short-header'
  | 'runt'
  | 'bad-csum'
  | 'bad-gso'
  | 'bad-flags'
  | 'bad-hdr-len'
  | 'false-data-valid'
  | 'payload-change'
  | 'ack-garbage'

/** Misdeeds of a network device. */
export const hostileNet: Readonly<Record<HostileNetKind, Misdeed>> = {
  'num-buffers-0': misdeed('receive', (moment) => numBuffers(moment, 0)),
  /** More buffers than there are: `value`, or 65535. */
  'num-buffers-huge': misdeed('receive', (moment, { value }) => numBuffers(moment, value ?? 0xffff)),
  /** The last of a packet's buffers never comes: with one buffer, a second is promised. */
  'fragments-missing': misdeed('receive', (moment) => {
    if (moment.written.length > 1) moment.written.pop()
    else numBuffers(moment, 2)
  }),
  /** A buffer of the packet with nothing in it. */
  'fragment-empty': misdeed('receive', ({ written }) => {
    written[written.length - 1] = 0
  }),
  /** Less is written than a header: `value` bytes, or 4. */
  'short-header': misdeed('receive', ({ written }, { value }) => {
    written[0] = value ?? 4
  }),
  /** A frame too short for an Ethernet header: `value` bytes, or 4. */
  runt: misdeed('receive', ({ written, headerLength }, { value }) => {
    written[0] = headerLength + (value ?? 4)
    written.length = 1
  }),
  /** A checksum to fill in far outside the packet: at `value`, or 60000. */
  'bad-csum': misdeed('receive', (moment, { value }) =>
    rewrite(moment, (header) => {
      header.setUint8(NetHeader.FLAGS, NetHeader.F_NEEDS_CSUM)
      header.setUint16(NetHeader.CSUM_START, value ?? 60000, true)
      header.setUint16(NetHeader.CSUM_OFFSET, 16, true)
    }),
  ),
  /** A kind of segmentation that does not exist, or `value`, of segments of no length. */
  'bad-gso': misdeed('receive', (moment, { value }) =>
    rewrite(moment, (header) => {
      header.setUint8(NetHeader.FLAGS, NetHeader.F_NEEDS_CSUM)
      header.setUint8(NetHeader.GSO_TYPE, value ?? 0x7f)
      header.setUint16(NetHeader.GSO_SIZE, 0, true)
    }),
  ),
  /** Flags that were not negotiated, or that nobody knows: `value`, or all of them. */
  'bad-flags': misdeed('receive', (moment, { value }) =>
    rewrite(moment, (header) => header.setUint8(NetHeader.FLAGS, value ?? 0xff)),
  ),
  /** A header length that says nothing true: `value`, or 65535. */
  'bad-hdr-len': misdeed('receive', (moment, { value }) =>
    rewrite(moment, (header) => header.setUint16(NetHeader.HDR_LEN, value ?? 0xffff, true)),
  ),
  /** A checksum declared sound that is not: the last byte of the frame is changed. */
  'false-data-valid': misdeed('receive', (moment) => {
    rewrite(moment, (header) => header.setUint8(NetHeader.FLAGS, NetHeader.F_DATA_VALID))
    const chain = moment.chains[moment.chains.length - 1]
    const end = (moment.written[moment.written.length - 1] ?? 1) - 1
    chain?.write(Uint8Array.of(0xa5), end)
  }),
  /** Header and payload change after the driver was told, on the next turn of the event loop. */
  'payload-change': misdeed('receive', ({ chains }) => {
    setImmediate(() => {
      for (const chain of chains) for (const element of chain.writable) element.fill(0xa5)
    })
  }),
  /** A command's answer is `value`, or 0xff. */
  'ack-garbage': lasting('control', (moment, { value }) => {
    moment.ack = value ?? 0xff
  }),
}
