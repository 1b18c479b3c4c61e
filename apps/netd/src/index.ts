/**
 * The parts of netd that other programs can use: captures, and what a running session tells. The program itself is `bin/netd.js`.
 * @packageDocumentation
 */
export { headerComment } from './capture/header-comment.ts'
export type { CaptureDirection, CaptureSink, PacketTap } from './capture/packet-tap.ts'
export { PcapngCapture, type PcapngCaptureOptions } from './capture/pcapng-capture.ts'
export type {
  Observable,
  PortDescription,
  SessionDescription,
  TapDescription,
} from './control/observable.ts'
