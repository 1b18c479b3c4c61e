import { Socket } from 'node:net'
import { socketPair } from '@virtio-ts/native'

const GREETING = { QMP: { version: { qemu: { major: 7, minor: 2, micro: 1 }, package: '' }, capabilities: [] } }

/** The other end of a QMP connection, played by the test. */
export class FakeQmp {
  /** For the object under test, which owns it. */
  readonly fd: number
  readonly commands: { execute: string; arguments?: unknown; id: number }[] = []
  readonly socket: Socket
  /** Answers a command: return nothing to stay silent. */
  answer: (command: { execute: string; id: number }) => unknown = ({ id }) => ({ return: {}, id })

  constructor(greeting: unknown = GREETING) {
    const [fd, ours] = socketPair()
    this.fd = fd
    this.socket = new Socket({ fd: ours, readable: true, writable: true })
    this.socket.on('error', () => {})
    let pending = ''
    this.socket.setEncoding('utf8').on('data', (piece) => {
      const lines = `${pending}${piece}`.split('\n')
      pending = lines.pop() ?? ''
      for (const line of lines) {
        const command = JSON.parse(line) as (typeof this.commands)[0]
        this.commands.push(command)
        const answer = this.answer(command)
        if (answer !== undefined) this.say(answer)
      }
    })
    if (greeting !== undefined) this.say(greeting)
  }

  say(message: unknown): void {
    this.socket.write(`${JSON.stringify(message)}\r\n`)
  }

  close(): void {
    this.socket.destroy()
  }
}
