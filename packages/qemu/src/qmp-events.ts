/** Events that this project uses, with their data. QEMU has more: see its QMP reference. */
export interface QmpEvents {
  /** `device` is the id; absent for what is inside a device. */
  readonly DEVICE_DELETED: { readonly device?: string; readonly path: string }
  readonly DEVICE_UNPLUG_GUEST_ERROR: { readonly device?: string; readonly path: string }
  readonly NIC_RX_FILTER_CHANGED: { readonly name?: string; readonly path: string }
  readonly NETDEV_STREAM_CONNECTED: { readonly 'netdev-id': string; readonly addr: unknown }
  readonly NETDEV_STREAM_DISCONNECTED: { readonly 'netdev-id': string }
  readonly BLOCK_IO_ERROR: Readonly<Record<string, unknown>>
  readonly BALLOON_CHANGE: { readonly actual: number }
  readonly VSERPORT_CHANGE: { readonly id: string; readonly open: boolean }
  readonly RESET: { readonly guest: boolean; readonly reason: string }
  readonly SHUTDOWN: { readonly guest: boolean; readonly reason: string }
  readonly STOP: Readonly<Record<string, never>>
  readonly RESUME: Readonly<Record<string, never>>
}

/** An event's data, known or not. */
export type QmpEventData<Name extends string> = Name extends keyof QmpEvents ? QmpEvents[Name] : unknown
