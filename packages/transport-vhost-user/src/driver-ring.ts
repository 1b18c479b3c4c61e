/** A chain as the driver made it available. */
export interface TakenChain {
  readonly id: number
  /** Ring entries it takes up. */
  readonly descriptors: number
  /** A copy of what the driver wrote: nobody changes it while it is looked at. */
  readonly readable: Uint8Array
  /** Where an answer goes, in the driver's memory. */
  readonly writable: readonly Uint8Array[]
}

/**
 * The device's side of a queue that is served in this process. The ring lies in memory that the back-end reaches as well, though it is none
 * of its business: nothing in it is believed.
 */
export interface DriverRing {
  /** @returns undefined when nothing is available. @throws RangeError for what no driver makes available */
  take(): TakenChain | undefined
  /** Gives a chain back, in the order of `take`. @param written bytes of its writable part */
  use(chain: TakenChain, written: number): void
}

export interface DriverRingOptions {
  readonly size: number
  /** What is at an address of the device; undefined where nothing is. */
  readonly view: (deviceAddress: number, length: number) => Uint8Array | undefined
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
}

/** A descriptor, its address as a number. */
export interface RingDescriptor {
  readonly address: number
  readonly length: number
  readonly isWritable: boolean
}

/** Bytes of one command; the longest, a table of addresses, is far below. */
const MAX_READABLE = 16384

/** The two halves of a chain from its descriptors. @throws RangeError for addresses where nothing is, and for too many bytes */
export function collectChain(
  descriptors: readonly RingDescriptor[],
  view: DriverRingOptions['view'],
): { readonly readable: Uint8Array; readonly writable: readonly Uint8Array[] } {
  const readable = new Uint8Array(MAX_READABLE)
  const writable: Uint8Array[] = []
  let filled = 0
  for (const { address, length, isWritable } of descriptors) {
    const bytes = view(address, length)
    if (bytes === undefined) throw new RangeError(`nothing is at ${address}, ${length} bytes long`)
    if (isWritable) writable.push(bytes)
    else {
      if (filled + length > MAX_READABLE) throw new RangeError(`a command of more than ${MAX_READABLE} bytes`)
      readable.set(bytes, filled)
      filled += length
    }
  }
  return { readable: readable.subarray(0, filled), writable }
}

/** An area of the ring. @throws RangeError where nothing is */
export function areaView(view: DriverRingOptions['view'], deviceAddress: number, length: number): DataView {
  const bytes = view(deviceAddress, length)
  if (bytes === undefined) throw new RangeError(`no ring of ${length} bytes is at ${deviceAddress}`)
  return new DataView(bytes.buffer, bytes.byteOffset, length)
}

/** A little-endian 64-bit number; inexact beyond 2^53, where nothing is either. */
export function read64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 0x1_0000_0000
}
