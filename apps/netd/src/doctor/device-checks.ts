import { Capability, hasCapability } from './capabilities.ts'
import { type Check, pass, warn } from './check.ts'
import { moduleAdvice } from './module-advice.ts'

/** Memory that a device's rings and buffers take at most, in bytes: what has to be locked while a real device may write to it. */
const lockedMemory = 64 << 20

export const hugepagesCheck: Check = (machine) => {
  const text = machine.readText('/proc/meminfo') ?? ''
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(text)?.[1] ?? 0)
  const [total, free] = [field('HugePages_Total'), field('HugePages_Free')]
  const fix = 'sudo sysctl vm.nr_hugepages=64'
  if (total === 0)
    return warn('hugepages', 'no hugepages: memory for real devices (sysfs:, vfio:) will be slower or missing', fix)
  if (free === 0)
    return warn('hugepages', `all ${total} hugepages are in use`, `sudo sysctl vm.nr_hugepages=${total + 64}`)
  return pass('hugepages', `${free} of ${total} hugepages free (${field('Hugepagesize')} KiB each)`)
}

export const memlockCheck: Check = (machine) => {
  if (hasCapability(machine, Capability.IPC_LOCK))
    return pass('memlock', 'memory can be locked without limit (CAP_IPC_LOCK)')
  const soft = /^Max locked memory\s+(\S+)/m.exec(machine.readText('/proc/self/limits') ?? '')?.[1]
  if (soft === 'unlimited' || Number(soft) >= lockedMemory)
    return pass('memlock', `memory that may be locked: ${soft === 'unlimited' ? soft : `${soft} bytes`}`)
  return warn(
    'memlock',
    `only ${soft ?? 'an unknown number of'} bytes may be locked: real devices (vfio:) need ${lockedMemory}`,
    'ulimit -l unlimited   (as root; for a service: LimitMEMLOCK=infinity)',
  )
}

export const iommuCheck: Check = (machine) => {
  const groups = machine.listNames('/sys/kernel/iommu_groups').length
  if (groups > 0) return pass('iommu', `IOMMU with ${groups} groups`)
  return warn(
    'iommu',
    'no IOMMU: real devices cannot be kept to their memory (vfio: needs one)',
    'kernel command line intel_iommu=on or amd_iommu=on; in a virtual machine, give it a vIOMMU',
  )
}

export const vfioCheck: Check = async (machine) => {
  if (!machine.exists('/sys/bus/pci/drivers/vfio-pci')) {
    const { why, fix } = await moduleAdvice(machine, 'vfio-pci')
    return warn('vfio', `${why}: needed for vfio: devices`, fix)
  }
  if (!machine.exists('/sys/module/vfio_iommu_type1')) {
    const { why, fix } = await moduleAdvice(machine, 'vfio_iommu_type1')
    return warn('vfio', `${why}: without it VFIO gives no device memory`, fix)
  }
  const error = machine.exists('/dev/vfio/vfio') ? machine.tryOpen('/dev/vfio/vfio') : 'ENOENT'
  if (error === undefined) return pass('vfio', 'vfio-pci is loaded, /dev/vfio/vfio opens')
  if (error === 'ENOENT')
    return warn(
      'vfio',
      'vfio-pci is loaded, but there is no /dev/vfio/vfio',
      'in a container: --device /dev/vfio; elsewhere: sudo udevadm trigger',
    )
  return warn(
    'vfio',
    `vfio-pci is loaded, but /dev/vfio/vfio does not open (${error})`,
    'run as root, or: sudo chmod 0666 /dev/vfio/vfio   (its usual mode; devices have files of their own)',
  )
}

/** Files of groups: each has an owner of its own, root to begin with. */
export const vfioGroupsCheck: Check = (machine) => {
  const groups = machine.listNames('/dev/vfio').filter((path) => /(^|\/)(noiommu-)?\d+$/.test(path))
  const paths = groups.map((each) => (each.startsWith('/') ? each : `/dev/vfio/${each}`))
  const closed = paths.find((path) => machine.tryWritable(path) !== undefined)
  if (closed !== undefined)
    return warn(
      'vfio-groups',
      `${closed} may not be opened (${machine.tryWritable(closed)}): its devices cannot be used`,
      `run as root, or: sudo chown ${machine.uid < 0 ? '$USER' : machine.uid} ${closed}`,
    )
  return pass(
    'vfio-groups',
    paths.length === 0 ? 'no device is bound to vfio-pci now' : `${paths.length} VFIO groups may be opened`,
  )
}
