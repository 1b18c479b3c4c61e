import type { Transport } from './transport.ts'

/**
 * Fields of a device's configuration space. Offsets in bytes; every read is consistent over the whole range asked for.
 * @see VIRTIO 1.3 § 2.5 "Device Configuration Space"
 */
export class DeviceConfig {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Bytes the space holds, as far as the bus tells. */
  get length(): number {
    return this.#transport.configLength
  }

  async bytes(offset: number, length: number): Promise<Uint8Array> {
    const into = new Uint8Array(length)
    await this.#transport.readConfig(offset, into)
    return into
  }

  async read8(offset: number): Promise<number> {
    return (await this.#view(offset, 1)).getUint8(0)
  }

  async read16(offset: number): Promise<number> {
    return (await this.#view(offset, 2)).getUint16(0, true)
  }

  async read32(offset: number): Promise<number> {
    return (await this.#view(offset, 4)).getUint32(0, true)
  }

  async read64(offset: number): Promise<bigint> {
    return (await this.#view(offset, 8)).getBigUint64(0, true)
  }

  write(offset: number, from: Uint8Array): Promise<void> {
    return this.#transport.writeConfig(offset, from)
  }

  async #view(offset: number, length: number): Promise<DataView> {
    return new DataView((await this.bytes(offset, length)).buffer)
  }
}
