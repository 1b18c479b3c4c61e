import type { DiskEvent } from '../disk/disk.ts'
import { formatSize } from '../disk/size.ts'

/** What `blkd serve --json` prints, one object a line. */
export type ServeEvent =
  | {
      readonly event: 'ready'
      readonly device: string
      /** `unix:PATH`, as it was given. */
      readonly nbd: string
      /** What clients are given to connect. */
      readonly uri: string
      readonly export: string
      /** Bytes that clients see. */
      readonly size: number
      readonly blockSize: number
      readonly readOnly: boolean
      readonly cache: string
      readonly features: readonly string[]
      readonly transport: string
      readonly vectors: number
    }
  | { readonly event: 'connected'; readonly client: number }
  | { readonly event: 'disconnected'; readonly client: number; readonly violation?: string }
  | DiskEvent
  | { readonly event: 'stopped'; readonly reason: string }

/** The same for people. */
export function eventText(event: ServeEvent): string {
  switch (event.event) {
    case 'ready': {
      const { device, uri, size, blockSize, readOnly, cache } = event
      const what = [formatSize(size), `blocks of ${blockSize}`, readOnly ? 'read-only' : cache].join(', ')
      return `${device} is now ${uri} (${what})`
    }
    case 'connected':
      return `client ${event.client} connected`
    case 'disconnected':
      return `client ${event.client} disconnected${event.violation === undefined ? '' : `: ${event.violation}`}`
    case 'resize':
      return `the device has ${event.capacity} bytes now (${formatSize(event.capacity)}): clients that connect from now on see it, NBD has no way to tell the others`
    case 'fault':
      return `fault ${event.code}: ${event.message}`
    case 'reset':
      return `device reset after ${event.reason}, running again`
    case 'stopped':
      return `stopped: ${event.reason}`
  }
}
