import type { Socket } from 'node:net'

/** Bytes beyond those asked for that are taken from the socket before it is paused. */
const AHEAD = 64 * 1024

/** Thrown to whoever waits for bytes that do not come any more. */
export class ConnectionEnded extends Error {
  constructor() {
    super('the connection ended')
    this.name = 'ConnectionEnded'
  }
}

/** Reads a socket by lengths. What nobody asks for stays in the kernel, but for a little. One reader at a time. */
export class SocketReader {
  readonly #socket: Socket
  #pieces: Uint8Array[] = []
  #buffered = 0
  #wanted = 0
  #ended = false
  #wakeUp: (() => void) | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (piece: Buffer) => {
      this.#pieces.push(piece)
      this.#buffered += piece.length
      if (this.#buffered >= this.#wanted + AHEAD) socket.pause()
      if (this.#buffered >= this.#wanted) this.#wake()
    })
    const end = (): void => {
      this.#ended = true
      this.#wake()
    }
    socket.on('end', end)
    socket.on('close', end)
  }

  /** The next `length` bytes in one array. @throws ConnectionEnded */
  async take(length: number): Promise<Buffer> {
    const pieces = await this.takePieces(length)
    const [only] = pieces
    if (pieces.length === 1 && only) return Buffer.from(only.buffer, only.byteOffset, only.length)
    return Buffer.concat(pieces, length)
  }

  /** The next `length` bytes as they came. @throws ConnectionEnded */
  async takePieces(length: number): Promise<Uint8Array[]> {
    while (this.#buffered < length) await this.#more(length)
    const taken: Uint8Array[] = []
    let left = length
    let index = 0
    for (; left > 0; index++) {
      const piece = this.#pieces[index] as Uint8Array
      if (piece.length > left) {
        taken.push(piece.subarray(0, left))
        this.#pieces[index] = piece.subarray(left)
        break
      }
      taken.push(piece)
      left -= piece.length
    }
    this.#pieces.splice(0, index)
    this.#buffered -= length
    return taken
  }

  /** Lets the next `length` bytes go. @throws ConnectionEnded */
  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) {
      const step = Math.min(left, AHEAD)
      await this.takePieces(step)
      left -= step
    }
  }

  async #more(length: number): Promise<void> {
    if (this.#ended) throw new ConnectionEnded()
    this.#wanted = length
    this.#socket.resume()
    await new Promise<void>((resolve) => {
      this.#wakeUp = resolve
    })
    this.#wakeUp = undefined
    this.#wanted = 0
  }

  #wake(): void {
    this.#wakeUp?.()
  }
}
