import { hasFeature, ReservedFeature } from '@virtio-ts/spec'
import { brokenDependencies } from '../feature-judgement.ts'
import type { DeviceCore } from '../device-core.ts'
import type { DeviceMoments, DevicePoint, DeviceProfile } from '../device-profile.ts'

/**
 * A device that lets nothing pass: drops FEATURES_OK for a bit it did not offer, for a feature without the one it needs, and on the modern
 * interface without VERSION_1; refuses queue sizes beyond its maximum; tells configuration changes by their own ISR bit alone. What the
 * driver did wrong otherwise stands in the function's `violations`, as with every profile.
 */
export function strict(): DeviceProfile {
  return {
    name: 'strict',
    configurationIsr: 2,
    on<Point extends DevicePoint>(point: Point, moment: DeviceMoments[Point], device: DeviceCore | undefined): void {
      if (point === 'accept' && device) judge(moment as DeviceMoments['accept'], device)
      if (point === 'queue-resize') {
        const resize = moment as DeviceMoments['queue-resize']
        if (resize.requested > resize.maximum) resize.accepted = resize.maximum
      }
    },
  }
}

function judge(moment: DeviceMoments['accept'], device: DeviceCore): void {
  const { wanted, offered, legacy } = moment
  if ((wanted & ~offered) !== 0n || brokenDependencies(device.model, wanted).length > 0) moment.ok = false
  // VIRTIO 1.3 § 6.2 "Device Requirements: Reserved Feature Bits": a device may refuse to go on without it.
  if (!legacy && !hasFeature(wanted, ReservedFeature.VERSION_1)) moment.ok = false
}
