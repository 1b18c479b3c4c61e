import { close, read, socketPair, write } from '@virtio-ts/native'

/** The other end of a qtest wire, played by the test: what it should say has to be said before it is waited for. */
export class FakeQtest {
  /** For the object under test. */
  readonly fd: number
  readonly #fd: number
  #open = true

  constructor() {
    ;[this.fd, this.#fd] = socketPair()
  }

  say(text: string): void {
    write(this.#fd, Buffer.from(text, 'latin1'))
  }

  /** Commands that have come since the last look. */
  heard(): string[] {
    const buffer = Buffer.alloc(65536)
    const count = read(this.#fd, buffer)
    return count > 0 ? buffer.toString('latin1', 0, count).trimEnd().split('\n') : []
  }

  hangUp(): void {
    if (this.#open) close(this.#fd)
    this.#open = false
  }

  close(): void {
    this.hangUp()
    close(this.fd)
  }
}
