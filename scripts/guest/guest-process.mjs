// @ts-check
import { encodeFrame, Kind } from './frames.mjs'
import { GuestError, lastLines } from './guest-error.mjs'

/** How a command ended. @typedef {{ code: number | null, signal: NodeJS.Signals | null }} GuestExit */

/** A command that runs in the guest, or has run. */
export class GuestProcess {
  /** Its process id in the guest. */
  pid = 0
  /** @type {Buffer[]} */
  #stdout = []
  /** @type {Buffer[]} */
  #stderr = []
  #id
  #send
  /** @type {(() => void)[]} */
  #listeners = []
  /** @type {(exit: GuestExit) => void} */
  #resolve = () => {}
  /** @type {(error: unknown) => void} */
  #reject = () => {}
  #isOver = false
  /** Gets what it says as it comes. @type {(text: string) => void} */
  onOutput = () => {}

  /** @param {number} id @param {readonly string[]} argv @param {(frame: Buffer) => void} send */
  constructor(id, argv, send) {
    this.#id = id
    this.#send = send
    this.argv = argv
    /**
     * Resolves at its end; rejected when the guest ends first (GuestError `guest.crashed`, `guest.timeout`, `guest.closed`).
     * @type {Promise<GuestExit>}
     */
    this.exited = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // It may be that nobody waits for it.
    this.exited.catch(() => {})
    /** @type {Promise<void>} */
    this.started = new Promise((resolve, reject) => {
      this.markStarted = resolve
      this.exited.then(() => resolve(), reject)
    })
    this.started.catch(() => {})
  }

  /** What it has said so far. @returns {string} */
  get stdout() {
    return this.stdoutBytes.toString()
  }

  /** @returns {string} */
  get stderr() {
    return Buffer.concat(this.#stderr).toString()
  }

  /** @returns {Buffer} */
  get stdoutBytes() {
    return Buffer.concat(this.#stdout)
  }

  get isOver() {
    return this.#isOver
  }

  /**
   * Sends a signal; of no effect once it has ended.
   * @param {NodeJS.Signals} [signal] `SIGTERM` when left out
   * @param {{ group?: boolean }} [options] `group`: to what it has started, too
   */
  kill(signal = 'SIGTERM', { group = false } = {}) {
    if (!this.#isOver) this.#send(encodeFrame(this.#id, Kind.SIGNAL, { signal, group }))
  }

  /** For its stdin, where it was started with `stdin: true`. @param {string | Uint8Array} data */
  write(data) {
    const bytes = Buffer.from(data)
    for (let at = 0; at < bytes.length; at += 1 << 16) {
      this.#send(encodeFrame(this.#id, Kind.STDIN, bytes.subarray(at, at + (1 << 16))))
    }
  }

  /** Ends its stdin. */
  endInput() {
    this.#send(encodeFrame(this.#id, Kind.STDIN))
  }

  /**
   * Waits for a line of stdout or stderr that matches, what has been said before included.
   * @param {RegExp} pattern without the flag `g`
   * @param {number} [timeoutSeconds] 60 when left out
   * @returns {Promise<string>} the line
   * @throws GuestError `guest.command-timeout`, or `guest.command` when it ends without saying it
   */
  async waitForLine(pattern, timeoutSeconds = 60) {
    const late = AbortSignal.timeout(timeoutSeconds * 1000)
    const lateness = new Promise((resolve) => late.addEventListener('abort', resolve, { once: true }))
    for (;;) {
      const over = this.#isOver
      const line = [this.stdout, this.stderr].flatMap((text) => text.split('\n')).find((text) => pattern.test(text))
      if (line !== undefined) return line
      const words = `${this.argv.join(' ')} has not said ${pattern}`
      const said = `: ${lastLines(`${this.stdout}${this.stderr}`)}`
      if (over) {
        await this.exited
        throw new GuestError('guest.command', `${words}, and has ended${said}`)
      }
      if (late.aborted) throw new GuestError('guest.command-timeout', `${words} within ${timeoutSeconds} s${said}`)
      const change = new Promise((resolve) => this.#listeners.push(() => resolve(undefined)))
      await Promise.race([change, lateness])
    }
  }

  /** A frame of the agent's about this command. @param {number} kind @param {Buffer} payload */
  take(kind, payload) {
    if (kind === Kind.STDOUT) this.#stdout.push(payload)
    if (kind === Kind.STDERR) this.#stderr.push(payload)
    if (kind === Kind.STDOUT || kind === Kind.STDERR) this.onOutput(payload.toString())
    if (kind === Kind.STARTED) {
      this.pid = JSON.parse(payload.toString()).pid
      this.markStarted()
    }
    if (kind === Kind.EXIT) {
      const { error, code, signal } = JSON.parse(payload.toString())
      if (error === undefined) {
        // What the console says of it has arrived as well, once the sockets that are ready have been read.
        this.#isOver = true
        setImmediate(() => this.#resolve({ code, signal }))
      } else this.fail(new GuestError('guest.command', `cannot start ${this.argv.join(' ')} in the guest: ${error}`))
    }
    for (const listener of this.#listeners.splice(0)) listener()
  }

  /** The guest has ended. @param {GuestError} error */
  fail(error) {
    this.#isOver = true
    this.#reject(error)
    for (const listener of this.#listeners.splice(0)) listener()
  }

  /** Set by the constructor. */
  markStarted() {}
}
