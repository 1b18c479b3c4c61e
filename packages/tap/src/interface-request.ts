/** struct ifreq (linux/if.h): a name of 16 bytes, then 24 bytes that depend on the request. */
export class InterfaceRequest {
  readonly bytes: Uint8Array = new Uint8Array(LENGTH)
  /** The part after the name. */
  readonly value: DataView = new DataView(this.bytes.buffer, NAME_LENGTH)

  constructor(name: string) {
    new TextEncoder().encodeInto(name, this.bytes.subarray(0, NAME_LENGTH - 1))
  }

  get name(): string {
    const end = this.bytes.indexOf(0)
    return new TextDecoder().decode(this.bytes.subarray(0, Math.min(end, NAME_LENGTH)))
  }
}

const NAME_LENGTH = 16
const LENGTH = 40
