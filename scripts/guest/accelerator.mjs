// @ts-check
import { accessSync, constants, readFileSync } from 'node:fs'

/**
 * How QEMU runs the guest's processors: `kvm` where the processor virtualises and /dev/kvm may be used, else `tcg` (in software, slower).
 * VIRTIO_TS_GUEST_ACCELERATOR chooses otherwise. That /dev/kvm opens does not suffice: within some virtual machines (PVM) it does, and
 * no ordinary kernel starts.
 * @returns {'kvm' | 'tcg'}
 */
export function accelerator() {
  const chosen = process.env['VIRTIO_TS_GUEST_ACCELERATOR']
  if (chosen === 'kvm' || chosen === 'tcg') return chosen
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK)
    return /^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'utf8')) ? 'kvm' : 'tcg'
  } catch {
    return 'tcg'
  }
}
