import { DeviceType, type DeviceTypeId, deviceTypeName } from '@virtio-ts/spec'

/** What everybody calls the device, where that is not the specification's word for it. */
const labels: Readonly<Record<DeviceTypeId, string>> = {
  [DeviceType.NETWORK]: 'virtio-net',
  [DeviceType.BLOCK]: 'virtio-blk',
  [DeviceType.ENTROPY]: 'virtio-rng',
  [DeviceType.NINE_P]: 'virtio-9p',
  [DeviceType.FILE_SYSTEM]: 'virtio-fs',
  [DeviceType.MEMORY]: 'virtio-mem',
}

/** `virtio-net`, `virtio-blk`; `virtio device type 99` for one nobody here knows. */
export function deviceLabel(type: DeviceTypeId): string {
  return (
    labels[type] ??
    (deviceTypeName(type).startsWith('device type') ? `virtio device type ${type}` : `virtio-${deviceTypeName(type)}`)
  )
}
