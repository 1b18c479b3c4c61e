import type { DeviceProfile } from '../device-profile.ts'

/** A device as the specification has it, and as forgiving as QEMU where it leaves room. */
export function honest(): DeviceProfile {
  return { name: 'honest' }
}
