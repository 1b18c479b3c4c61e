import { VhostUser } from '@virtio-ts/spec'

/** Header and payload in one. */
export function encodeMessage(request: number, flags: number, payload: Uint8Array): Uint8Array {
  const message = new Uint8Array(VhostUser.HEADER_LENGTH + payload.length)
  const header = new DataView(message.buffer)
  header.setUint32(0, request, true)
  header.setUint32(4, flags, true)
  header.setUint32(8, payload.length, true)
  message.set(payload, VhostUser.HEADER_LENGTH)
  return message
}

/** A payload of one 64-bit number. */
export function encodeNumber(value: bigint): Uint8Array {
  const payload = new Uint8Array(8)
  new DataView(payload.buffer).setBigUint64(0, value, true)
  return payload
}

/** A payload that says something of one ring: "A vring state description". */
export function encodeRingState(index: number, value: number): Uint8Array {
  const payload = new Uint8Array(8)
  const view = new DataView(payload.buffer)
  view.setUint32(0, index, true)
  view.setUint32(4, value, true)
  return payload
}
