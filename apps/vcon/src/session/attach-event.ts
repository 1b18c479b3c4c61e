import { hasControlCharacters, printable } from '@virtio-ts/command-line'

/** What `vcon attach --json` prints, one object a line. */
export type AttachEvent =
  | {
      readonly event: 'ready'
      /** The locator. */
      readonly device: string
      readonly port: number
      readonly name: string | null
      readonly console: boolean
      /** Whether somebody is at the other end. */
      readonly connected: boolean
      /** With --link. */
      readonly terminal?: string
      readonly link?: string
      readonly features: readonly string[]
      readonly transport: string
      readonly vectors: number
    }
  | { readonly event: 'connected' | 'disconnected' }
  | { readonly event: 'opened' | 'left' }
  | { readonly event: 'resize'; readonly columns: number; readonly rows: number }
  | { readonly event: 'lost'; readonly bytes: number }
  | { readonly event: 'stopped'; readonly reason: string; readonly sent: number; readonly received: number }

/** The same for people. Names come from the device. */
export function eventText(event: AttachEvent): string {
  switch (event.event) {
    case 'ready': {
      const name = event.name === null || hasControlCharacters(event.name) ? '' : ` ${JSON.stringify(event.name)}`
      const where = event.link === undefined ? '' : ` is ${event.terminal}, linked at ${event.link}`
      const nobody = event.connected ? '' : '; nobody is at its other end yet'
      return printable(`port ${event.port}${name} of ${event.device}${where}${nobody}`)
    }
    case 'connected':
      return 'somebody is at the other end'
    case 'disconnected':
      return 'nobody is at the other end any more'
    case 'opened':
      return 'a program has opened the terminal'
    case 'left':
      return 'no program has the terminal open any more'
    case 'resize':
      return `the console has ${event.columns} columns and ${event.rows} rows`
    case 'lost':
      return `the device did not take everything in time: at least ${event.bytes} bytes are lost`
    case 'stopped':
      return `left (${event.reason}): ${event.sent} bytes sent, ${event.received} received`
  }
}
