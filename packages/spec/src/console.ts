/** Feature bits of the console device. @see VIRTIO 1.3 § 5.3.3 "Feature bits" */
export const ConsoleFeature = {
  SIZE: 0,
  MULTIPORT: 1,
  EMERG_WRITE: 2,
} as const

export type ConsoleFeatureName = keyof typeof ConsoleFeature

/** struct virtio_console_config: offsets in bytes. @see VIRTIO 1.3 § 5.3.4 "Device configuration layout" */
export const ConsoleConfig = {
  COLS: 0,
  ROWS: 2,
  MAX_NR_PORTS: 4,
  EMERG_WR: 8,
  LENGTH: 12,
} as const

/**
 * struct virtio_console_control: offsets in bytes, what `event` can be, and what follows it.
 * @see VIRTIO 1.3 § 5.3.6.2 "Multiport Device Operation"
 */
export const ConsoleControl = {
  ID: 0,
  EVENT: 4,
  VALUE: 6,
  LENGTH: 8,
  DEVICE_READY: 0,
  DEVICE_ADD: 1,
  DEVICE_REMOVE: 2,
  PORT_READY: 3,
  CONSOLE_PORT: 4,
  RESIZE: 5,
  PORT_OPEN: 6,
  PORT_NAME: 7,
  /** Behind a RESIZE message: columns, then rows, 16 bits each. */
  RESIZE_COLS: 8,
  RESIZE_ROWS: 10,
  RESIZE_LENGTH: 12,
} as const

/**
 * Indices of a port's two queues; those of the control queues are 2 and 3.
 * @see VIRTIO 1.3 § 5.3.2 "Virtqueues"
 */
export function consolePortQueues(port: number): { readonly receive: number; readonly transmit: number } {
  const receive = port === 0 ? 0 : 2 * port + 2
  return { receive, transmit: receive + 1 }
}

/** Indices of the control queues. @see VIRTIO 1.3 § 5.3.2 "Virtqueues" */
export const ConsoleQueue = { CONTROL_RECEIVE: 2, CONTROL_TRANSMIT: 3 } as const
