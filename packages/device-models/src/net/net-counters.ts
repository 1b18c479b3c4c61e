/** What a network device counted since it was made; resets do not clear it. */
export interface NetCounters {
  framesToDriver: number
  bytesToDriver: number
  framesFromDriver: number
  bytesFromDriver: number
  /** Kept back by the receive filter. */
  filtered: number
  /** Frames to the driver that were dropped: no buffers and the backlog full. */
  droppedNoBuffer: number
  /** The link is down, or the driver has not set the device up. */
  droppedNotReady: number
  /** Longer than the MTU, or than the driver's buffers. */
  droppedTooLong: number
  /** Frames whose header asks for what the frame does not allow. */
  droppedInvalid: number
  /** Packets of the driver that were shorter than their header, or whose header did not fit them. */
  transmitErrors: number
  controlCommands: number
  controlErrors: number
}

export function newCounters(): NetCounters {
  return {
    framesToDriver: 0,
    bytesToDriver: 0,
    framesFromDriver: 0,
    bytesFromDriver: 0,
    filtered: 0,
    droppedNoBuffer: 0,
    droppedNotReady: 0,
    droppedTooLong: 0,
    droppedInvalid: 0,
    transmitErrors: 0,
    controlCommands: 0,
    controlErrors: 0,
  }
}
