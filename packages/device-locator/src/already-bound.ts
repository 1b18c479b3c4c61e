import type { HostFunctionUser } from './device-kind.ts'

/** For a program that leaves binding to its user: functions have to be bound to vfio-pci (`vfio:`) or unbound (`sysfs:`) already. */
export const alreadyBound: HostFunctionUser = {
  take: async () => ({ giveBack: async () => {} }),
}
