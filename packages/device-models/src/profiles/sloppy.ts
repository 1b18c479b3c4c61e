import { DeviceType, hasFeature, NetFeature } from '@virtio-ts/spec'
import type { DeviceCore } from '../device-core.ts'
import type { DeviceMoments, DevicePoint, DeviceProfile } from '../device-profile.ts'
import { netHeaderLength } from '../net/net-header.ts'
import { CONTROL_QUEUE, TRANSMIT_QUEUE } from '../net/net-state.ts'

const UNKNOWN_FLAG = 0x80
const LONG_HEADER = 12
const HUGE = 0x10000

/**
 * A device that means well and is odd, in the ways drivers met in the field: `len` of used transmit, control and block buffers is
 * rubbish, and they come back in another order, interrupts come for nothing, the header has an unknown flag and, where the driver cannot
 * merge, a num_buffers of 0.
 */
export function sloppy(): DeviceProfile {
  return {
    name: 'sloppy',
    on<Point extends DevicePoint>(point: Point, moment: DeviceMoments[Point], device: DeviceCore | undefined): void {
      if (point === 'used') oddUsed(moment as DeviceMoments['used'], device)
      if (point === 'interrupt') (moment as DeviceMoments['interrupt']).times = 2
      if (point === 'receive' && device) oddHeader(moment as DeviceMoments['receive'], device)
      // Once for nothing, as soon as the driver has looked.
      if (point === 'notify' && device?.driverOk) device.interrupt((moment as DeviceMoments['notify']).queue)
    },
  }
}

/** VIRTIO 1.3 § 5.1.6.1 "Legacy Interface: Device Operation": historically, the total descriptor length; here, worse. */
function oddUsed({ ring, elements }: DeviceMoments['used'], device: DeviceCore | undefined): void {
  if (!isToDevice(ring.queue, device?.model.deviceType)) return
  elements.reverse()
  for (const element of elements) element.length = HUGE + element.id
}

/** Whether nothing is written into this queue's buffers, so that their used length means nothing. */
function isToDevice(queue: number, deviceType: number | undefined): boolean {
  // Transmit queues have the odd numbers, the control transmitq among them.
  if (deviceType === DeviceType.CONSOLE) return queue % 2 === 1
  if (deviceType === DeviceType.BALLOON || deviceType === DeviceType.BLOCK) return true
  return queue === TRANSMIT_QUEUE || queue === CONTROL_QUEUE
}

function oddHeader({ chains, headerLength }: DeviceMoments['receive'], device: DeviceCore): void {
  const [first] = chains
  if (!first) return
  const header = firstBytes(first.writable, headerLength)
  header[0] = (header[0] ?? 0) | UNKNOWN_FLAG
  if (netHeaderLength(device.features) === LONG_HEADER && !hasFeature(device.features, NetFeature.MRG_RXBUF))
    header.fill(0, 10, 12)
  first.write(header)
}

/** A copy of what stands at the beginning of a buffer. */
export function firstBytes(elements: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let at = 0
  for (const element of elements) {
    const part = element.subarray(0, length - at)
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}
