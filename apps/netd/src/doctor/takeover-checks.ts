import { Capability, hasCapability } from './capabilities.ts'
import { type Check, pass, warn } from './check.ts'
import { moduleAdvice } from './module-advice.ts'

export const uioCheck: Check = async (machine) => {
  if (machine.exists('/sys/bus/pci/drivers/uio_pci_generic'))
    return pass('uio', 'uio_pci_generic is loaded: interrupts without an IOMMU')
  const { why, fix } = await moduleAdvice(machine, 'uio_pci_generic')
  return warn('uio', `${why}: sysfs: devices are polled`, fix)
}

export const bindingCheck: Check = (machine) => {
  const error = machine.tryWritable('/sys/bus/pci/drivers_probe')
  if (error === undefined) return pass('binding', 'PCI drivers may be changed: netd bind')
  if (error === 'ENOENT')
    return warn(
      'binding',
      'this machine has no PCI bus: no device to take over',
      'qemu: and vhost-user: devices need none',
    )
  if (error === 'EROFS')
    return warn(
      'binding',
      'sysfs is read-only: netd bind cannot work here',
      'run netd bind outside of the container, or start that one with --privileged',
    )
  return warn('binding', `PCI drivers may not be changed (${error}): netd bind cannot work`, 'sudo netd bind ...')
}

export const pagemapCheck: Check = (machine) => {
  if (!machine.exists('/proc/self/pagemap'))
    return warn(
      'pagemap',
      'this kernel has no /proc/self/pagemap: no sysfs: devices',
      'use a kernel with CONFIG_PROC_PAGE_MONITOR',
    )
  if (hasCapability(machine, Capability.SYS_ADMIN))
    return pass('pagemap', 'physical addresses can be read (CAP_SYS_ADMIN): sysfs: devices without an IOMMU')
  return warn(
    'pagemap',
    'no CAP_SYS_ADMIN: physical addresses are hidden, sysfs: devices cannot be used',
    'sudo netd run ...',
  )
}

export const ptraceCheck: Check = (machine) => {
  if (hasCapability(machine, Capability.SYS_PTRACE))
    return pass('ptrace', 'which process has a device open can be seen (CAP_SYS_PTRACE)')
  return warn(
    'ptrace',
    "no CAP_SYS_PTRACE: other users' processes that have a device open are not seen",
    'sudo netd release ...',
  )
}

export const ipCheck: Check = async (machine) => {
  const { exitCode, output } = await machine.run('ip', ['-json', 'address', 'show', 'dev', 'lo'])
  const install = 'sudo apt-get install iproute2'
  const what = 'addresses and routes of a device that is taken could not be restored'
  if (exitCode === undefined) return warn('ip', `there is no ip command: ${what}`, install)
  if (exitCode !== 0 || !output.startsWith('[')) return warn('ip', `ip does not answer in JSON: ${what}`, install)
  return pass('ip', 'iproute2 records and restores addresses and routes')
}
