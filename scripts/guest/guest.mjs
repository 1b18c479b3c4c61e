// @ts-check
import { unpackCoverage } from './coverage.mjs'
import { encodeFrame, FrameReader, Kind } from './frames.mjs'
import { GuestError, lastLines } from './guest-error.mjs'
import { GuestProcess } from './guest-process.mjs'

/** @typedef {import('./guest-machine.mjs').GuestMachine} GuestMachine */

/** How long a guest may take to power off: 0.2 s is usual. */
const POWER_OFF_MS = 20_000

/**
 * @typedef {{ environment?: Readonly<Record<string, string>>, directory?: string }} CommandOptions `directory`: /root when left out
 * @typedef {CommandOptions & { input?: string | Uint8Array, timeoutSeconds?: number, signal?: AbortSignal | undefined,
 *   onOutput?: (text: string) => void }} RunOptions `timeoutSeconds`: 60 when left out; `onOutput`: gets stdout and stderr as they come
 * @typedef {{ code: number | null, signal: NodeJS.Signals | null, stdout: string, stderr: string }} CommandResult
 */

/** A guest that runs; `bootGuest` makes it. */
export class Guest {
  #machine
  #send
  #nextId = 1
  /** @type {Map<number, GuestProcess>} */
  #commands = new Map()
  #hello
  /** Why nothing more can be done with it. @type {GuestError | undefined} */
  #over
  #isReady = false
  #timer
  #forget

  /** For `bootGuest`. @param {GuestMachine} machine @param {number} timeoutSeconds @param {AbortSignal | undefined} signal */
  constructor(machine, timeoutSeconds, signal) {
    this.#machine = machine
    this.#send = (/** @type {Buffer} */ frame) => void machine.agent.write(frame)
    /** @type {() => void} */
    let greet = () => {}
    this.#hello = new Promise((resolve) => {
      greet = () => resolve(undefined)
    })
    const reader = new FrameReader((id, kind, payload) => {
      if (kind === Kind.HELLO) return greet()
      this.#commands.get(id)?.take(kind, payload)
      if (kind === Kind.EXIT) this.#commands.delete(id)
    })
    machine.agent.on('data', (bytes) => reader.push(bytes))
    this.#timer = setTimeout(() => {
      this.#end('guest.timeout', `the guest was killed: its ${timeoutSeconds} s are up (option timeoutSeconds)`)
    }, timeoutSeconds * 1000)
    const abort = () => this.#end('guest.closed', 'the guest was killed: its signal has been aborted', signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    this.#forget = () => signal?.removeEventListener('abort', abort)
    void machine.exited.then(({ code, signal: by }) => {
      const how = by === null ? `exit status ${code}` : `by ${by}`
      const isPanic = /Kernel panic/.test(machine.console)
      const what = this.#isReady
        ? `the guest has ended ${isPanic ? 'in a kernel panic' : `by itself (QEMU: ${how})`}`
        : `the guest did not start (QEMU: ${how})`
      this.#end(this.#isReady ? 'guest.crashed' : 'guest.boot', what)
    })
  }

  /** For `bootGuest`: waits until the agent runs. */
  async ready() {
    try {
      await Promise.race([this.#hello, this.#machine.exited])
      if (this.#over !== undefined) throw this.#over
      await this.qmp.negotiate()
      this.#isReady = true
    } catch (error) {
      const reason = this.#over ?? error
      await this.kill()
      throw reason
    }
  }

  /** QEMU's: `execute`, `next` for events, and what else it has. @returns {import('@virtio-ts/qemu').Qmp} */
  get qmp() {
    return this.#machine.qmp
  }

  /** QEMU's process id on this machine. @returns {number} */
  get pid() {
    return this.#machine.child.pid ?? 0
  }

  /** All the guest has said on its console (ttyS0): kernel warnings and worse, and what is written to /dev/console. @returns {string} */
  get console() {
    return this.#machine.console
  }

  /** What QEMU has said. @returns {string} */
  get qemuStderr() {
    return this.#machine.stderr
  }

  /** Lines in which the kernel or QEMU tell of something wrong: warnings, oopses, DMA faults, misused devices. @returns {string[]} */
  complaints() {
    return this.#machine.complaints()
  }

  /** Resolves when the guest has ended, however. @returns {Promise<void>} */
  get ended() {
    return this.#machine.exited.then(() => {})
  }

  /**
   * Runs a command in the guest and waits for it.
   * @param {readonly string[]} argv @param {RunOptions} [options]
   * @returns {Promise<CommandResult>} whatever its exit code is
   * @throws GuestError `guest.command-timeout` (it has been killed, with all it started), `guest.command`; those of a guest that ends; the
   * signal's reason when it is aborted
   */
  async run(argv, options = {}) {
    const { stdoutBytes, ...result } = await this.#runForBytes(argv, options)
    return { ...result, stdout: stdoutBytes.toString() }
  }

  /**
   * Starts a command in the guest.
   * @param {readonly string[]} argv @param {CommandOptions & { stdin?: boolean }} [options] `stdin`: keep it open for `write`
   * @returns {Promise<GuestProcess>} once it runs
   * @throws GuestError `guest.command` when it cannot be started
   */
  async spawn(argv, options = {}) {
    const command = this.#start(argv, options)
    await command.started
    return command
  }

  /** Makes the folders above it, too. @param {string} path @param {string | Uint8Array} data @param {number} [mode] */
  async writeFile(path, data, mode = 0o644) {
    const script = 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"'
    const { code, stderr } = await this.run(['sh', '-c', script, 'sh', path, mode.toString(8)], { input: data })
    if (code !== 0) throw new GuestError('guest.command', `cannot write ${path} in the guest: ${stderr.trim()}`)
  }

  /** @param {string} path @returns {Promise<Buffer>} */
  async readFile(path) {
    const { code, stdoutBytes, stderr } = await this.#runForBytes(['cat', path], {})
    if (code !== 0) throw new GuestError('guest.command', `cannot read ${path} in the guest: ${stderr.trim()}`)
    return stdoutBytes
  }

  /**
   * Copies what V8 wrote about coverage out, with paths of this checkout: of commands run with
   * `environment: { NODE_V8_COVERAGE: '/tmp/coverage' }`.
   * @param {string} directory on this machine @param {string} [from] in the guest
   * @returns {Promise<number>} files
   */
  async collectCoverage(directory, from = '/tmp/coverage') {
    const { code, stdoutBytes, stderr } = await this.#runForBytes(['busybox', 'tar', '-c', '-C', from, '.'], {})
    if (code !== 0) throw new GuestError('guest.command', `no coverage in the guest: ${stderr.trim()}`)
    return unpackCoverage(stdoutBytes, directory)
  }

  /**
   * Waits for something on the console, what was said before included.
   * @param {RegExp} pattern @param {number} [timeoutSeconds] 60 when left out
   * @returns {Promise<string>} the line
   */
  async waitForConsole(pattern, timeoutSeconds = 60) {
    const late = AbortSignal.timeout(timeoutSeconds * 1000)
    const lateness = new Promise((resolve) => late.addEventListener('abort', resolve, { once: true }))
    for (;;) {
      const line = this.console.split(/\r?\n/).find((text) => pattern.test(text))
      if (line !== undefined) return line
      const message = `the guest's console has not said ${pattern} within ${timeoutSeconds} s:\n${lastLines(this.console)}`
      if (late.aborted) throw new GuestError('guest.command-timeout', message)
      if (this.#over !== undefined) throw this.#over
      await Promise.race([this.#machine.change(), lateness])
    }
  }

  /**
   * Powers the guest off in order.
   * @param {{ expectComplaints?: RegExp | undefined }} [options] complaints that match are no failure
   * @throws GuestError `guest.complaint` when the kernel or QEMU complained; `guest.timeout` when it had to be killed after 20 s; what ended it when it has ended before
   */
  async shutdown({ expectComplaints } = {}) {
    if (this.#over !== undefined) throw this.#over
    this.#over = new GuestError('guest.closed', 'the guest has been shut down')
    this.#send(encodeFrame(0, Kind.POWER_OFF))
    let isLate = false
    const late = setTimeout(() => {
      isLate = true
      this.#machine.kill()
    }, POWER_OFF_MS)
    await this.#machine.exited
    clearTimeout(late)
    this.#cleanUp(this.#over)
    const complaints = this.complaints().filter((line) => expectComplaints?.test(line) !== true)
    if (complaints.length === 0 && isLate) {
      const message = `the guest did not power off within ${POWER_OFF_MS} ms and was killed:\n${lastLines(this.console)}`
      throw new GuestError('guest.timeout', message)
    }
    if (complaints.length === 0) return
    throw new GuestError(
      'guest.complaint',
      `the guest's kernel or QEMU complained:\n  ${complaints.slice(0, 20).join('\n  ')}`,
    )
  }

  /** Ends QEMU at once, whatever the guest does; of no effect when it has ended. Looks at no complaints. */
  async kill() {
    this.#end('guest.closed', 'the guest has been killed')
    await this.#machine.exited
  }

  async [Symbol.asyncDispose]() {
    await this.kill()
  }

  /** @param {readonly string[]} argv @param {RunOptions} options */
  async #runForBytes(argv, { input, timeoutSeconds = 60, signal, onOutput, ...options }) {
    signal?.throwIfAborted()
    const command = this.#start(argv, { ...options, stdin: input !== undefined })
    if (onOutput !== undefined) command.onOutput = onOutput
    if (input !== undefined) {
      command.write(input)
      command.endInput()
    }
    const late = AbortSignal.timeout(timeoutSeconds * 1000)
    const given = signal === undefined ? late : AbortSignal.any([late, signal])
    const stop = () => command.kill('SIGKILL', { group: true })
    given.addEventListener('abort', stop)
    try {
      const { code, signal: by } = await command.exited
      signal?.throwIfAborted()
      if (!late.aborted || by !== 'SIGKILL') {
        return { code, signal: by, stdoutBytes: command.stdoutBytes, stderr: command.stderr }
      }
      const said = lastLines(`${command.stdout}${command.stderr}`)
      throw new GuestError(
        'guest.command-timeout',
        `${argv.join(' ')} took longer than ${timeoutSeconds} s; it said: ${said}`,
      )
    } finally {
      given.removeEventListener('abort', stop)
    }
  }

  /** @param {readonly string[]} argv @param {CommandOptions & { stdin?: boolean }} options */
  #start(argv, { environment = {}, directory = '/root', stdin = false }) {
    if (this.#over !== undefined) throw this.#over
    const id = this.#nextId++
    const command = new GuestProcess(id, argv, this.#send)
    this.#commands.set(id, command)
    this.#send(encodeFrame(id, Kind.START, { argv, environment, directory, stdin }))
    return command
  }

  /** @param {import('./guest-error.mjs').GuestErrorCode} code @param {string} message @param {unknown} [cause] */
  #end(code, message, cause) {
    if (this.#over === undefined) {
      const complaints = this.complaints().slice(0, 10).join('\n')
      const said = [complaints, lastLines(this.console), lastLines(this.qemuStderr, 10)].filter((text) => text !== '')
      this.#over = new GuestError(code, [message, ...said].join('\n--\n'), { cause })
    }
    this.#machine.kill()
    this.#cleanUp(this.#over)
  }

  /** @param {GuestError} error */
  #cleanUp(error) {
    clearTimeout(this.#timer)
    this.#forget()
    for (const command of this.#commands.values()) command.fail(error)
    this.#commands.clear()
  }
}
