/** The first or the second device of a bridge. */
type BridgePort = 'a' | 'b'

/** What `netd run --json` and `netd bridge --json` print, one object a line. */
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
  | {
      readonly event: 'ready'
      readonly name: string
      readonly ports: readonly {
        readonly device: string
        readonly mac: string
        readonly features: readonly string[]
        readonly transport: string
        readonly vectors: number
      }[]
    }
  | { readonly event: 'link'; readonly port?: BridgePort; readonly up: boolean }
  | { readonly event: 'announce'; readonly sent: number }
  | { readonly event: 'fault'; readonly port?: BridgePort; readonly code: string; readonly message: string }
  | { readonly event: 'reset'; readonly port?: BridgePort; readonly reason: string }
  | { readonly event: 'stopped'; readonly reason: string }
  /** For people only: something is not as it was asked for. */
  | { readonly event: 'notice'; readonly message: string }

/** The same for people. */
export function eventText(event: SessionEvent): string {
  return 'port' in event ? `${event.port}: ${plainText(event)}` : plainText(event)
}

function plainText(event: SessionEvent): string {
  switch (event.event) {
    case 'ready':
      if ('ports' in event) {
        const ports = event.ports.map(
          ({ device, transport, vectors }) => `${device} (${transport}, ${vectors} vectors)`,
        )
        return `${event.name} forwards between ${ports.join(' and ')}`
      }
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
    case 'notice':
      return event.message
  }
}
