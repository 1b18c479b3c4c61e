// @ts-check
// The frames between this machine and the agent in the guest, over one byte stream in each direction:
//   length of what follows (4 bytes) | command's number (4) | kind (1) | payload
// both numbers little-endian. This file runs on both sides.

/** What a frame is. Payloads are JSON where an object is given, bytes otherwise. */
export const Kind = /** @type {const} */ ({
  /** Agent: ready for commands. */
  HELLO: 0,
  /** To the agent: run `{ argv, environment, directory, stdin }`. */
  START: 1,
  /** To the agent: bytes for the command's stdin; none: its end. */
  STDIN: 2,
  /** To the agent: `{ signal, group }`. */
  SIGNAL: 3,
  /** To the agent: power the machine off. */
  POWER_OFF: 4,
  /** Agent: `{ pid }`. */
  STARTED: 5,
  STDOUT: 6,
  STDERR: 7,
  /** Agent: `{ code, signal }`, or `{ error }` where it did not start; the last of a command. */
  EXIT: 8,
})

const HEADER = 9

/** @param {number} id @param {number} kind @param {Uint8Array | object} [payload] @returns {Buffer} */
export function encodeFrame(id, kind, payload = new Uint8Array(0)) {
  const body = payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload))
  const frame = Buffer.allocUnsafe(HEADER + body.length)
  frame.writeUInt32LE(5 + body.length, 0)
  frame.writeUInt32LE(id, 4)
  frame.writeUInt8(kind, 8)
  frame.set(body, HEADER)
  return frame
}

/** Takes a stream apart into frames. */
export class FrameReader {
  /** @type {Buffer[]} */
  #pieces = []
  #length = 0
  #take

  /** @param {(id: number, kind: number, payload: Buffer) => void} take the payload is its to keep */
  constructor(take) {
    this.#take = take
  }

  /** @param {Buffer} bytes from now on this object's */
  push(bytes) {
    this.#pieces.push(bytes)
    this.#length += bytes.length
    while (this.#length >= HEADER) {
      const first = this.#joined(4)
      const length = 4 + first.readUInt32LE(0)
      if (this.#length < length) return
      const frame = this.#joined(length)
      this.#pieces = [frame.subarray(length)]
      this.#length -= length
      this.#take(frame.readUInt32LE(4), frame.readUInt8(8), frame.subarray(HEADER, length))
    }
  }

  /** All pieces in one when the first has fewer bytes than these. @param {number} bytes */
  #joined(bytes) {
    const [first] = this.#pieces
    if (first !== undefined && first.length >= bytes) return first
    const all = Buffer.concat(this.#pieces)
    this.#pieces = [all]
    return all
  }
}
