/** A port as it is when the device comes up, or is plugged in. */
export interface ConsolePortOptions {
  /** @defaultValue the first free number */
  readonly id?: number
  /** Told to the driver by PORT_NAME. */
  readonly name?: string
  /** Nominated as a console by CONSOLE_PORT. @defaultValue false */
  readonly console?: boolean
  /** Whether somebody is at the other end. @defaultValue true */
  readonly connected?: boolean
}

export interface ConsoleSize {
  readonly columns: number
  readonly rows: number
}

export interface ConsoleModelOptions {
  /** Offers MULTIPORT; without it there is port 0 and nothing else. @defaultValue true */
  readonly multiport?: boolean
  /** @defaultValue port 0, a console */
  readonly ports?: readonly ConsolePortOptions[]
  /** max_nr_ports: what the queues are for. @defaultValue 4, or as many as `ports` need */
  readonly maxPorts?: number
  /** What `max_nr_ports` says, where the device lies. */
  readonly claimedPorts?: number
  /** Offers SIZE; false does not. @defaultValue 80 columns, 25 rows */
  readonly size?: ConsoleSize | false
  /** Offers EMERG_WRITE. @defaultValue true */
  readonly emergencyWrite?: boolean
  /** Of each queue. @defaultValue 64 */
  readonly queueSize?: number
}
