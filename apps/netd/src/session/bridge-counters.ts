/** What became of the frames of one direction of a bridge. */
export class BridgeCounters {
  frames = 0
  bytes = 0
  /** The other device's ring was full. */
  fullDrops = 0
  /** The other device was not there, or being brought up again. */
  downDrops = 0
  /** Its driver did not take the frame: too long for it, or an offload that the device does not have. */
  refusedDrops = 0

  /** @param prefix `a_to_b` */
  snapshot(prefix: string): Record<string, number> {
    return {
      [`${prefix}_frames`]: this.frames,
      [`${prefix}_bytes`]: this.bytes,
      [`${prefix}_full_drops`]: this.fullDrops,
      [`${prefix}_down_drops`]: this.downDrops,
      [`${prefix}_refused_drops`]: this.refusedDrops,
    }
  }
}
