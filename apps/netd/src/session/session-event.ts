/** What `netd run --json` prints, one object a line. */
export type SessionEvent =
  | {
      readonly event: 'ready'
      readonly device: string
      readonly tap: string
      readonly mac: string
      readonly features: readonly string[]
      readonly transport: string
      readonly vectors: number
    }
  | { readonly event: 'link'; readonly up: boolean }
  | { readonly event: 'announce'; readonly sent: number }
  | { readonly event: 'fault'; readonly code: string; readonly message: string }
  | { readonly event: 'reset'; readonly reason: string }
  | { readonly event: 'stopped'; readonly reason: string }

/** The same for people. */
export function eventText(event: SessionEvent): string {
  switch (event.event) {
    case 'ready':
      return `${event.device} is now ${event.tap} (${event.mac}, ${event.transport}, ${event.vectors} vectors): ${event.features.join(' ')}`
    case 'link':
      return `link ${event.up ? 'up' : 'down'}`
    case 'announce':
      return `the device asked to be announced: ${event.sent} gratuitous ARP sent`
    case 'fault':
      return `fault ${event.code}: ${event.message}`
    case 'reset':
      return `device reset after ${event.reason}, running again`
    case 'stopped':
      return `stopped: ${event.reason}`
  }
}
