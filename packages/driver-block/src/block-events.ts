import type { VirtioError } from '@virtio-ts/spec'
import { Listeners } from './listeners.ts'

export interface BlockEvents {
  /** The disk has another size now, in bytes; requests beyond it are refused from now on. */
  resize: (capacity: number) => void
  /** A queue broke, or the device failed or is gone: nothing but `close()` makes sense any more. Once. */
  fault: (reason: VirtioError) => void
}

export type BlockEventListeners = { readonly [Event in keyof BlockEvents]: Listeners<Parameters<BlockEvents[Event]>> }

export function blockEventListeners(): BlockEventListeners {
  return { resize: new Listeners(), fault: new Listeners() }
}
