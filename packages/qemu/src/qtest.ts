import { Errno, errnoName, PollEvent, poll, read, watchReadable, write } from '@virtio-ts/native'
import { LineSplitter } from './line-splitter.ts'
import { QemuError } from './qemu-error.ts'

/** Memory addresses, or I/O ports. */
export type QtestSpace = 'memory' | 'io'
export type QtestWidth = 8 | 16 | 32

const READ = { memory: { 8: 'readb', 16: 'readw', 32: 'readl' }, io: { 8: 'inb', 16: 'inw', 32: 'inl' } } as const
const WRITE = {
  memory: { 8: 'writeb', 16: 'writew', 32: 'writel' },
  io: { 8: 'outb', 16: 'outw', 32: 'outl' },
} as const
const ALL_ONES = { 8: 0xff, 16: 0xffff, 32: 0xffff_ffff } as const

/**
 * Commands that may be unanswered. Every answer is a packet of its own in QEMU's socket: with 279 of them unread its main
 * loop blocks in write(), and all devices with it.
 */
const WINDOW = 64
const LONGEST_LINE = 4096
/** No answer to a command of ours. */
const NONE = -1

export interface QtestOptions {
  /** How long to wait for an answer before QEMU counts as hung, in milliseconds; 20 000 when left out. */
  readonly replyTimeout?: number | undefined
  /** Gets every command, in order. */
  readonly record?: ((command: string) => void) | undefined
}

/**
 * The qtest wire: registers read and written as lines of text on a socket, answered strictly in order, with lines about
 * interrupt pins in between. All accesses are synchronous: about as long as a system call and a task switch. Nothing here
 * throws for what QEMU does: once the wire is broken reads are all-ones and writes go nowhere, as on a bus without a device.
 *
 * QEMU aborts on a command whose arguments it cannot parse; all commands are made here, from checked numbers.
 */
export class Qtest {
  /** Called for an interrupt pin that changes, possibly in the middle of a register access: must not use the wire. */
  onInterrupt: (pin: number, raised: boolean) => void = () => {}
  /** Called once when the wire breaks, possibly in the middle of a register access. */
  onBroken: (error: QemuError) => void = () => {}

  readonly #fd: number
  readonly #replyTimeout: number
  readonly #record: ((command: string) => void) | undefined
  readonly #lines = new LineSplitter('latin1', LONGEST_LINE)
  readonly #received = Buffer.alloc(8192)
  readonly #outgoing = Buffer.alloc(8192)
  #outgoingLength = 0
  readonly #watches = new Set<() => void>()
  #broken: QemuError | undefined
  #sent = 0
  #answered = 0
  /** Value of the last answer. */
  #value = 0
  readonly #onLine: (line: string) => void = (line) => this.#take(line)

  /** @param fd a connected stream socket, non-blocking; it stays the caller's */
  constructor(fd: number, options: QtestOptions = {}) {
    this.#fd = fd
    this.#replyTimeout = options.replyTimeout ?? 20_000
    this.#record = options.record
  }

  /** Why the wire no longer works, or undefined while it does. */
  get broken(): QemuError | undefined {
    return this.#broken
  }

  /** Posted commands whose answers have not been read. */
  get outstanding(): number {
    return this.#sent - this.#answered
  }

  /**
   * @returns the register's value; all-ones when the wire is broken
   * @throws RangeError for an address that is none
   */
  read(space: QtestSpace, width: QtestWidth, address: number): number {
    const value = this.#ask(`${READ[space][width]} ${checkedAddress(space, width, address)}\n`)
    return value === NONE ? ALL_ONES[width] : value
  }

  /** Returns when the device has seen the write. @throws RangeError for an address that is none */
  write(space: QtestSpace, width: QtestWidth, address: number, value: number): void {
    this.#ask(`${WRITE[space][width]} ${checkedAddress(space, width, address)} ${hex(value & ALL_ONES[width])}\n`)
  }

  /**
   * Returns before the device has seen the write, which takes place after all earlier and before all later accesses.
   *
   * @param hold keeps it back until the next access, which it then shares a system call with
   * @throws RangeError for an address that is none
   */
  post(space: QtestSpace, width: QtestWidth, address: number, value: number, hold = false): void {
    if (this.#broken !== undefined) return
    this.#queue(`${WRITE[space][width]} ${checkedAddress(space, width, address)} ${hex(value & ALL_ONES[width])}\n`)
    if (hold) return
    this.#flush()
    if (this.outstanding >= WINDOW) this.#awaitAnswers(this.#sent - WINDOW / 2)
  }

  /** From here on changes of the IOAPIC's input pins are reported. Once for a QEMU. */
  interceptInterrupts(): void {
    this.#ask('irq_intercept_in ioapic\n')
  }

  /**
   * Resolves when QEMU answers for the first time, which is when all devices are there; also when the wire breaks.
   * Waits on the event loop: nothing else may use the wire meanwhile.
   */
  ready(): Promise<void> {
    return new Promise((resolve) => {
      this.#queue('endianness\n')
      this.#flush()
      const stop = this.#onReadable(() => {
        if (this.outstanding > 0 && this.#broken === undefined) return
        stop()
        resolve()
      })
    })
  }

  /**
   * Reads what QEMU says of its own accord, on the event loop, and so keeps the process alive; without this interrupt lines
   * are seen with the next register access only.
   * @returns stops; idempotent
   */
  watch(): () => void {
    return this.#onReadable(() => {})
  }

  /**
   * From here on the wire is broken, for `reason`, and its descriptor is not used any more. `onBroken` is not called.
   */
  close(reason: QemuError): void {
    for (const stop of [...this.#watches]) stop()
    this.#broken ??= reason
    this.onBroken = () => {}
    this.onInterrupt = () => {}
  }

  /** Calls `taken` on the event loop whenever something has been taken, and once when the wire breaks. */
  #onReadable(taken: () => void): () => void {
    const stopNative = watchReadable(this.#fd, () => {
      if (this.#broken === undefined) this.#receive()
      // a broken wire is readable for ever
      if (this.#broken !== undefined) stop()
      taken()
    })
    const stop = (): void => {
      if (this.#watches.delete(stop)) stopNative()
    }
    this.#watches.add(stop)
    return stop
  }

  /** @returns the value of the answer (0 for a plain OK), or NONE */
  #ask(line: string): number {
    if (this.#broken !== undefined) return NONE
    this.#queue(line)
    this.#flush()
    return this.#awaitAnswers(this.#sent) ? this.#value : NONE
  }

  #queue(line: string): void {
    if (this.#outgoingLength + line.length > this.#outgoing.length) this.#flush()
    this.#record?.(line.slice(0, -1))
    this.#outgoingLength += this.#outgoing.write(line, this.#outgoingLength, 'latin1')
    this.#sent++
  }

  #flush(): void {
    let start = 0
    while (start < this.#outgoingLength && this.#broken === undefined) {
      const count = write(this.#fd, this.#outgoing, start, this.#outgoingLength - start)
      if (count >= 0) start += count
      else if (count === -Errno.EAGAIN) this.#waitFor(PollEvent.IN | PollEvent.OUT)
      else if (count !== -Errno.EINTR) this.#break(ended(count))
    }
    this.#outgoingLength = 0
  }

  /** @returns false when the wire broke first */
  #awaitAnswers(number: number): boolean {
    while (this.#answered < number && this.#broken === undefined) this.#waitFor(PollEvent.IN)
    return this.#broken === undefined
  }

  /** Blocks until one of the events is there, and reads what can be read. */
  #waitFor(events: number): void {
    const start = performance.now()
    for (;;) {
      const seen = poll(this.#fd, events, this.#replyTimeout)
      if (seen !== 0) {
        if ((seen & ~PollEvent.OUT) !== 0) this.#receive()
        return
      }
      // poll also returns early for a signal
      if (performance.now() - start < this.#replyTimeout) continue
      const message = `QEMU has not answered for ${this.#replyTimeout} ms (stopped, or in a loop): it is given up`
      return this.#break(new QemuError('qemu.protocol', message))
    }
  }

  /** Takes what has arrived. */
  #receive(): void {
    const count = read(this.#fd, this.#received)
    if (count > 0) {
      try {
        this.#lines.push(this.#received.subarray(0, count), this.#onLine)
      } catch (cause) {
        this.#break(new QemuError('qemu.protocol', 'QEMU sent an endless line on the qtest wire', { cause }))
      }
    } else if (count !== -Errno.EAGAIN && count !== -Errno.EINTR) this.#break(ended(count))
  }

  #take(line: string): void {
    if (this.#broken !== undefined) return
    if (line.startsWith('IRQ ')) return this.#takeInterrupt(line)
    const value =
      line === 'OK' || line === 'OK little' ? 0 : /^OK 0x[0-9a-f]{1,16}$/.test(line) ? Number(line.slice(3)) : NONE
    if (value === NONE || this.#answered === this.#sent) {
      return this.#break(new QemuError('qemu.protocol', `QEMU sent ${JSON.stringify(line)} on the qtest wire`))
    }
    this.#value = value
    this.#answered++
  }

  #takeInterrupt(line: string): void {
    const [, change, pin] = /^IRQ (raise|lower) (\d{1,3})$/.exec(line) ?? []
    if (pin !== undefined) return this.onInterrupt(Number(pin), change === 'raise')
    this.#break(new QemuError('qemu.protocol', `QEMU sent ${JSON.stringify(line)} on the qtest wire`))
  }

  #break(error: QemuError): void {
    if (this.#broken !== undefined) return
    this.#broken = error
    this.onBroken(error)
  }
}

function ended(count: number): QemuError {
  const how = count === 0 ? 'end of stream' : errnoName(count)
  return new QemuError('qemu.exited', `QEMU has ended (qtest wire: ${how})`)
}

function checkedAddress(space: QtestSpace, width: QtestWidth, address: number): string {
  const end = space === 'io' ? 0x1_0000 : Number.MAX_SAFE_INTEGER
  if (!Number.isSafeInteger(address) || address < 0 || address + width / 8 > end) {
    throw new RangeError(`${address} is no ${space === 'io' ? 'I/O port' : 'memory address'}`)
  }
  return `0x${address.toString(16)}`
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`
}
