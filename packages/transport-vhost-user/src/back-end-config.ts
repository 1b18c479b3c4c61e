import { VhostUser, VirtioError } from '@virtio-ts/spec'
import type { FrontEnd } from './front-end.ts'

/** The configuration space as the back-end has it. Only with CONFIG. */
export class BackEndConfig {
  /** Bytes. */
  readonly length: number
  readonly #frontEnd: FrontEnd

  private constructor(frontEnd: FrontEnd, length: number) {
    this.#frontEnd = frontEnd
    this.length = length
  }

  /** Finds out how long it is. There is no message for that: a back-end refuses to give more than it has. */
  static async open(frontEnd: FrontEnd): Promise<BackEndConfig> {
    let least = 0
    let most: number = VhostUser.MAX_CONFIG_LENGTH
    // The whole first: back-ends that fill up with zeroes are done with one question.
    for (let length = most; least < most; length = Math.ceil((least + most) / 2)) {
      if (await frontEnd.config(length)) least = length
      else most = length - 1
    }
    return new BackEndConfig(frontEnd, least)
  }

  /** All of it, as it was at one moment: a message is answered as a whole. */
  async read(): Promise<Uint8Array> {
    const contents = this.length === 0 ? new Uint8Array(0) : await this.#frontEnd.config(this.length)
    if (contents) return contents
    const device = this.#frontEnd.path
    throw new VirtioError(
      'vhost-user.refused',
      `${device}: the back-end gave its configuration (${this.length} bytes) before, and does not any more`,
      { device, detail: { length: this.length } },
    )
  }

  write(offset: number, from: Uint8Array): Promise<void> {
    return this.#frontEnd.setConfig(offset, from)
  }
}
