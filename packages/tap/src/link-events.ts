import { PollEvent, poll } from '@virtio-ts/native'
import { watchLinks } from './link-watch.ts'
import { goneError, TapError } from './tap-error.ts'

/** What others can change about an interface. */
export interface TapState {
  readonly name: string
  /** Whether the administrator has it switched on. */
  readonly up: boolean
  readonly carrier: boolean
  /** Bytes. */
  readonly mtu: number
  /** 6 bytes. */
  readonly mac: Uint8Array
}

/** Finds out what others do to an interface, and tells. Does not keep the process alive. */
export class LinkEvents {
  readonly #fd: number
  readonly #readState: () => TapState
  readonly #stopWatch: () => void
  readonly #goneListeners = new Set<(reason: TapError) => void>()
  readonly #changeListeners = new Set<(state: TapState) => void>()
  #state: TapState
  #goneReason: TapError | undefined

  /**
   * @param fd a queue of the interface, open for as long as this object is
   * @param readState looks the state up; throws TapError `tap.gone` where there is none
   */
  constructor(fd: number, readState: () => TapState) {
    this.#fd = fd
    this.#readState = readState
    this.#state = readState()
    this.#stopWatch = watchLinks(() => this.#look())
  }

  get gone(): boolean {
    return this.#goneReason !== undefined
  }

  /** @see Tap.onGone */
  onGone(listener: (reason: TapError) => void): () => void {
    if (this.#goneReason !== undefined) {
      listener(this.#goneReason)
      return () => {}
    }
    this.#goneListeners.add(listener)
    return () => this.#goneListeners.delete(listener)
  }

  /** @see Tap.onChange */
  onChange(listener: (state: TapState) => void): () => void {
    this.#changeListeners.add(listener)
    return () => this.#changeListeners.delete(listener)
  }

  /** For whoever finds out first: reading and writing say so before the kernel's message arrives. */
  reportGone(): void {
    if (this.#goneReason !== undefined) return
    const reason = goneError(this.#state.name)
    this.#goneReason = reason
    const listeners = [...this.#goneListeners]
    this.#goneListeners.clear()
    for (const listener of listeners) listener(reason)
  }

  /** Tells nobody anything any more. Idempotent. */
  close(): void {
    this.#goneListeners.clear()
    this.#changeListeners.clear()
    this.#stopWatch()
  }

  /** Some interface has changed: see if it was this one. */
  #look(): void {
    if ((poll(this.#fd, 0, 0) & PollEvent.ERR) !== 0) {
      this.reportGone()
      return
    }
    const before = this.#state
    try {
      this.#state = this.#readState()
    } catch (error) {
      // Deleted between the two looks, which the next message says; or moved to another namespace, where it goes on.
      if (error instanceof TapError && error.code === 'tap.gone') return
      throw error
    }
    if (JSON.stringify(comparable(before)) === JSON.stringify(comparable(this.#state))) return
    for (const listener of this.#changeListeners) listener(this.#state)
  }
}

function comparable(state: TapState): readonly unknown[] {
  return [state.name, state.up, state.carrier, state.mtu, ...state.mac]
}
