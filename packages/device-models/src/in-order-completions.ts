import type { DescriptorChain } from './descriptor-chain.ts'
import type { UsedElement } from './device-ring.ts'

/** What the device is done with, kept back until everything taken before it is done too. */
export class InOrderCompletions {
  readonly #batches: 'never' | 'always' | 'alternate'
  /** Taken and not shown to the driver yet, in the order in which it made them available. */
  readonly #taken: DescriptorChain[] = []
  readonly #done = new Map<DescriptorChain, number>()
  #turn = 0

  /** @param batches whether one used element stands for several buffers where it can */
  constructor(batches: 'never' | 'always' | 'alternate') {
    this.#batches = batches
  }

  taken(chain: DescriptorChain): void {
    this.#taken.push(chain)
  }

  /** The chain taken last goes back. */
  untaken(): DescriptorChain | undefined {
    return this.#taken.pop()
  }

  done(chain: DescriptorChain, written: number): void {
    this.#done.set(chain, written)
  }

  /** What the driver may see now. */
  elements(): UsedElement[] {
    const elements: UsedElement[] = []
    const batched = this.#batches === 'always' || (this.#batches === 'alternate' && this.#turn % 2 === 0)
    let skipped = { chains: 0, descriptors: 0 }
    for (let chain = this.#taken[0]; chain !== undefined; chain = this.#taken[0]) {
      const written = this.#done.get(chain)
      if (written === undefined) break
      this.#done.delete(chain)
      this.#taken.shift()
      const chains = skipped.chains + 1
      const descriptors = skipped.descriptors + chain.descriptors.length
      const next = this.#taken[0]
      // The driver takes those that are skipped for used completely.
      if (batched && written === chain.writableLength && next !== undefined && this.#done.has(next)) {
        skipped = { chains, descriptors }
        continue
      }
      elements.push({ id: chain.head, length: written, descriptors, chains })
      skipped = { chains: 0, descriptors: 0 }
    }
    if (elements.length > 0) this.#turn++
    return elements
  }
}
