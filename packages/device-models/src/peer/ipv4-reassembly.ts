import { finishIpv4Header, packetLayout, read16, write16 } from '../packet/packet-layout.ts'

const MORE_FRAGMENTS = 0x2000
const OFFSET = 0x1fff
const MAX_DATAGRAMS = 16

interface Pieces {
  /** Headers of the first fragment, up to the payload. */
  header: Uint8Array | undefined
  readonly payload: Uint8Array
  readonly covered: Uint8Array
  /** Payload bytes; 0 until the last fragment has come. */
  length: number
}

/** Puts fragmented IPv4 datagrams together again; the oldest unfinished ones are forgotten. */
export class Ipv4Reassembly {
  readonly #datagrams = new Map<string, Pieces>()

  /** @returns the whole frame once its last missing piece has come */
  add(frame: Uint8Array): Uint8Array | undefined {
    const { network, transport, end } = packetLayout(frame)
    const key = [...frame.subarray(network + 12, network + 20), frame[network + 9], read16(frame, network + 4)].join()
    const pieces = this.#datagrams.get(key) ?? {
      header: undefined,
      payload: new Uint8Array(65536),
      covered: new Uint8Array(8192),
      length: 0,
    }
    const flags = read16(frame, network + 6)
    const start = (flags & OFFSET) * 8
    const part = frame.subarray(transport, end)
    if (start + part.length > 65535) return undefined
    pieces.payload.set(part, start)
    pieces.covered.fill(1, start / 8, Math.ceil((start + part.length) / 8))
    if (start === 0) pieces.header = frame.slice(0, transport)
    if ((flags & MORE_FRAGMENTS) === 0) pieces.length = start + part.length
    this.#datagrams.set(key, pieces)
    const { header, length } = pieces
    if (!header || length === 0 || pieces.covered.subarray(0, Math.ceil(length / 8)).includes(0)) {
      const [oldest] = this.#datagrams.keys()
      if (this.#datagrams.size > MAX_DATAGRAMS && oldest !== undefined) this.#datagrams.delete(oldest)
      return undefined
    }
    this.#datagrams.delete(key)
    const whole = new Uint8Array(header.length + length)
    whole.set(header)
    whole.set(pieces.payload.subarray(0, length), header.length)
    write16(whole, network + 2, whole.length - network)
    write16(whole, network + 6, 0)
    finishIpv4Header(whole, network, header.length)
    return whole
  }
}
