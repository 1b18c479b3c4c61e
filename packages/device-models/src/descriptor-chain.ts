/**
 * A buffer the driver made available: the device-readable elements, then the device-writable ones. Its bytes are views of memory
 * that the driver may change at any time; copy before judging.
 */
export class DescriptorChain {
  /** Index of the head descriptor: what goes into the used ring. */
  readonly head: number
  readonly readable: readonly Uint8Array[]
  readonly writable: readonly Uint8Array[]
  /** Descriptors it takes in the descriptor table, in order. */
  readonly descriptors: readonly number[]
  readonly readableLength: number
  readonly writableLength: number

  constructor(head: number, readable: Uint8Array[], writable: Uint8Array[], descriptors: number[]) {
    this.head = head
    this.readable = readable
    this.writable = writable
    this.descriptors = descriptors
    this.readableLength = total(readable)
    this.writableLength = total(writable)
  }

  /** A copy of the device-readable bytes from `offset`, at most `length` of them. */
  read(offset: number = 0, length: number = this.readableLength): Uint8Array {
    const copy = new Uint8Array(Math.max(0, Math.min(length, this.readableLength - offset)))
    let skip = offset
    let done = 0
    for (const element of this.readable) {
      if (done === copy.length) break
      const part = element.subarray(skip, skip + copy.length - done)
      skip = Math.max(0, skip - element.length)
      copy.set(part, done)
      done += part.length
    }
    return copy
  }

  /** Writes into the device-writable elements, from `offset` on. @returns bytes written: what fits */
  write(bytes: Uint8Array, offset: number = 0): number {
    let skip = offset
    let done = 0
    for (const element of this.writable) {
      if (done === bytes.length) break
      if (skip < element.length) {
        const part = bytes.subarray(done, done + element.length - skip)
        element.set(part, skip)
        done += part.length
      }
      skip = Math.max(0, skip - element.length)
    }
    return done
  }
}

function total(elements: readonly Uint8Array[]): number {
  let sum = 0
  for (const element of elements) sum += element.length
  return sum
}
