import type { RequestQueue } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'
import { NetControl, VirtioError } from '@virtio-ts/spec'
import { Turnstile } from './turnstile.ts'

export interface ControlOptions {
  readonly signal?: AbortSignal
  /** Milliseconds until the command is given up, waiting for earlier ones included. */
  readonly timeout?: number
}

export interface ControlQueueOptions {
  readonly queue: RequestQueue
  /** `CONTROL_MEMORY` bytes. */
  readonly memory: DmaRegion
  /** Milliseconds, where a command does not say. */
  readonly timeout: number
  readonly device: string
  readonly generation: number
}

/** Class and command, then data from 64, then the acknowledgement, and behind it what else the device answers, on a cache line of their own. */
const DATA = 64
const DATA_LENGTH = 8192
const ACK = DATA + DATA_LENGTH
const RESULT = ACK + 8
const RESULT_LENGTH = 56
export const CONTROL_MEMORY: number = RESULT + RESULT_LENGTH
/** No device writes this: it tells a command that was answered from one that was only returned. */
const NO_ANSWER = 0xff

/**
 * Commands to the device, one at a time. The device may take as long as it likes, or answer when nobody waits any more: the memory
 * of a command that timed out stays the device's, and later commands wait behind it.
 * @see VIRTIO 1.3 § 5.1.6.5 "Control Virtqueue"
 */
export class ControlQueue {
  readonly #options: ControlQueueOptions
  readonly #turnstile = new Turnstile()
  #sent = 0
  #refused = 0
  #timedOut = 0

  constructor(options: ControlQueueOptions) {
    this.#options = options
  }

  /**
   * @param parts command-specific data, each part in a descriptor of its own
   * @param resultLength bytes of the command-specific result, 56 at most
   * @returns the result, zero where the device wrote less
   * Rejects with VirtioError `net.control-refused`, `net.control-timeout`, or what the device failed with; with the signal's reason;
   * with a RangeError for more data than one command takes
   */
  async command(
    commandClass: number,
    command: number,
    parts: readonly Uint8Array[],
    options: ControlOptions = {},
    resultLength = 0,
  ): Promise<Uint8Array> {
    const { device, generation } = this.#options
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    if (length > DATA_LENGTH)
      throw new RangeError(`a control command with ${length} bytes of data, more than ${DATA_LENGTH}`)
    const timeout = AbortSignal.timeout(options.timeout ?? this.#options.timeout)
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
    const detail = { class: commandClass, command }
    try {
      await this.#turnstile.enter(signal)
      const answer = await this.#send(commandClass, command, parts, signal, resultLength)
      const ack = answer[0]!
      if (ack === NetControl.OK) return answer.subarray(1)
      this.#refused++
      throw new VirtioError(
        'net.control-refused',
        `${device} refused control command ${commandClass}.${command} with ${ack}: it does not support it, or not with these arguments`,
        { device, generation, detail: { ...detail, ack } },
      )
    } catch (error) {
      if (error !== timeout.reason) throw error
      this.#timedOut++
      throw new VirtioError(
        'net.control-timeout',
        `${device} did not answer control command ${commandClass}.${command} in time; whether it was obeyed is not known`,
        { device, generation, detail },
      )
    }
  }

  /** Polled mode: takes answers. @returns how many came */
  service(): number {
    return this.#options.queue.service()
  }

  /** Rejects commands that wait for their turn. Those with the device are rejected by its queue. */
  close(reason: VirtioError): void {
    this.#turnstile.close(reason)
  }

  addStats(stats: Record<string, number>): void {
    stats.control_commands = this.#sent
    stats.control_refused = this.#refused
    stats.control_timeouts = this.#timedOut
  }

  async #send(
    commandClass: number,
    command: number,
    parts: readonly Uint8Array[],
    signal: AbortSignal,
    resultLength: number,
  ): Promise<Uint8Array> {
    const { memory, queue } = this.#options
    const { bytes } = memory
    bytes[0] = commandClass
    bytes[1] = command
    bytes[ACK] = NO_ANSWER
    // Descriptors as the legacy framing has them, which any device understands.
    // VIRTIO 1.3 § 5.1.6.6 "Legacy Interface: Framing Requirements"
    const readable = [{ region: memory, offset: 0, length: 2 }]
    let offset = DATA
    for (const part of parts) {
      bytes.set(part, offset)
      readable.push({ region: memory, offset, length: part.length })
      offset += part.length
    }
    const writable = [{ region: memory, offset: ACK, length: 1 }]
    if (resultLength > 0) {
      bytes.fill(0, RESULT, RESULT + resultLength)
      writable.push({ region: memory, offset: RESULT, length: resultLength })
    }
    this.#sent++
    // The used length is not looked at: legacy devices put anything there. An answer that was not written reads NO_ANSWER.
    await queue.request({ readable, writable }, { signal, onReleased: () => this.#turnstile.leave() })
    // A copy, taken before the next command gets the memory.
    const answer = new Uint8Array(1 + resultLength)
    answer[0] = bytes[ACK]!
    answer.set(bytes.subarray(RESULT, RESULT + resultLength), 1)
    return answer
  }
}
