import { printable } from '@virtio-ts/command-line'
import type { NotifySocket } from '@virtio-ts/native'
import { eventText, type SessionEvent } from '../session/session-event.ts'

/** A status is one line of `systemctl status`. */
const maxStatus = 500

/** Tells a service manager what becomes of a session: started, its link, recoveries, the end. Does nothing where there is none. */
export class ServiceNotifier {
  readonly #notify: NotifySocket
  /** Locators by port; of a session with one device by ''. */
  readonly #devices = new Map<string, string>()
  #name = ''

  constructor(notify: NotifySocket) {
    this.#notify = notify
  }

  tell(event: SessionEvent): void {
    if (event.event === 'ready') this.#remember(event)
    const status = `STATUS=${this.#status(event)}`
    this.#notify.send(event.event === 'ready' ? `READY=1\n${status}` : status)
  }

  /** The end has begun: to be called once it is known that there will be one. */
  stopping(): void {
    this.#notify.send('STOPPING=1\nSTATUS=stopping')
  }

  #remember(event: Extract<SessionEvent, { event: 'ready' }>): void {
    if ('ports' in event) {
      this.#name = event.name
      for (const [index, { device }] of event.ports.entries()) this.#devices.set(index === 0 ? 'a' : 'b', device)
    } else {
      this.#name = event.tap
      this.#devices.set('', event.device)
    }
  }

  #status(event: SessionEvent): string {
    const text = event.event === 'fault' ? this.#faultText(event) : eventText(event)
    const line = printable(text).replace(/\s+/g, ' ').slice(0, maxStatus)
    // Those texts name it themselves.
    return event.event === 'ready' || this.#name === '' ? line : `${this.#name}: ${line}`
  }

  #faultText(event: Extract<SessionEvent, { event: 'fault' }>): string {
    const port = event.port === undefined ? '' : `${event.port}: `
    const comesBack = this.#devices.get(event.port ?? '')?.startsWith('vhost-user:') === true
    const doing = comesBack && event.code === 'device.gone' ? 'waiting for the back-end' : 'recovering'
    return `${port}${doing}, after ${event.code}: ${event.message}`
  }
}
