/** As the OS sees it: `rx` came from the device, `tx` goes to it. */
export type CaptureDirection = 'rx' | 'tx'

/**
 * Takes copies of packets on their way. Whoever moves packets keeps a list of those attached, and does nothing at all for
 * them while it is empty.
 */
export interface PacketTap {
  /**
   * Never throws and never blocks; what it cannot take it drops and counts.
   * @param queue the index of the queue pair
   * @param header struct virtio_net_hdr as it is on the ring, 10 or 12 bytes
   * @param segments the frame, from the Ethernet header on, in order; every array is the caller's again when this returns
   */
  capture(direction: CaptureDirection, queue: number, header: Uint8Array, ...segments: Uint8Array[]): void
}

/** Takes packets that another thread has seen, later. */
export interface CaptureSink {
  /**
   * `PacketTap.capture`, with the time it was seen.
   * @param time nanoseconds since 1970
   */
  captureAt(
    time: bigint,
    direction: CaptureDirection,
    queue: number,
    header: Uint8Array,
    ...segments: Uint8Array[]
  ): void
  /** Packets were lost on the way here. */
  missed(count: number): void
}
