import { ConsoleControl } from '@virtio-ts/spec'
import type { ConsoleSize } from './console-size.ts'

/** A message of the device about a port. @see VIRTIO 1.3 § 5.3.6.2 "Multiport Device Operation" */
export interface ControlMessage {
  readonly id: number
  readonly event: number
  readonly value: number
  /** With PORT_NAME. */
  readonly name?: string
  /** With RESIZE. */
  readonly size?: ConsoleSize
}

const { RESIZE, PORT_NAME, LENGTH } = ConsoleControl

/** @returns undefined for bytes that are no message: too short for what they say */
export function parseControlMessage(bytes: Uint8Array): ControlMessage | undefined {
  if (bytes.length < LENGTH) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const message = {
    id: view.getUint32(ConsoleControl.ID, true),
    event: view.getUint16(ConsoleControl.EVENT, true),
    value: view.getUint16(ConsoleControl.VALUE, true),
  }
  if (message.event === PORT_NAME) return { ...message, name: printable(bytes.subarray(LENGTH)) }
  if (message.event !== RESIZE) return message
  if (bytes.length < ConsoleControl.RESIZE_LENGTH) return undefined
  const columns = view.getUint16(ConsoleControl.RESIZE_COLS, true)
  const rows = view.getUint16(ConsoleControl.RESIZE_ROWS, true)
  return { ...message, size: { columns, rows } }
}

/** Writes a message of the driver to the beginning of `into`. */
export function writeControlMessage(into: Uint8Array, id: number, event: number, value: number): void {
  const view = new DataView(into.buffer, into.byteOffset, LENGTH)
  view.setUint32(ConsoleControl.ID, id, true)
  view.setUint16(ConsoleControl.EVENT, event, true)
  view.setUint16(ConsoleControl.VALUE, value, true)
}

/** A name comes from the device: what would move a terminal's cursor, or is no UTF-8, becomes U+FFFD. QEMU ends it with a NUL. */
function printable(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  const text = new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
  return text.replace(/\p{Cc}/gu, '\ufffd')
}
