/** What a device is on its bus: one of the two. */
export interface DeviceIdentity {
  readonly function?: {
    /** What carries it: `qemu`, `model`. */
    readonly bus: string
    /** `0000:00:04.0` */
    readonly address: string
    /** PCI vendor and device ID. */
    readonly vendor: number
    readonly device: number
  }
  /** A vhost-user back-end. */
  readonly socket?: {
    readonly path: string
    /** Which end listens; the other one connects. */
    readonly listens: 'front-end' | 'back-end'
  }
}
