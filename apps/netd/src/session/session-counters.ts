/** What passed between the TAP and the device, and what did not, with the reason. Frames and bytes since the session began. */
export class SessionCounters {
  fromTapFrames = 0
  fromTapBytes = 0
  /** Frames whose header the driver refused. */
  fromTapDrops = 0
  toTapFrames = 0
  toTapBytes = 0
  /** The kernel's queue was full (EAGAIN). */
  tapFullDrops = 0
  /** The interface was down (EIO). */
  tapDownDrops = 0
  /** The kernel did not take the frame (EINVAL and others). */
  tapRefusedDrops = 0
  resets = 0

  snapshot(): Record<string, number> {
    return {
      from_tap_frames: this.fromTapFrames,
      from_tap_bytes: this.fromTapBytes,
      from_tap_drops: this.fromTapDrops,
      to_tap_frames: this.toTapFrames,
      to_tap_bytes: this.toTapBytes,
      tap_full_drops: this.tapFullDrops,
      tap_down_drops: this.tapDownDrops,
      tap_refused_drops: this.tapRefusedDrops,
      resets: this.resets,
    }
  }
}
