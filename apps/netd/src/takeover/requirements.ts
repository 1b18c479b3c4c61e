import { CommandError } from '@virtio-ts/command-line'
import { BindingError, currentDriver, iommuGroup, iommuGroupBlockers } from '@virtio-ts/pci/binding'
import { DeviceType } from '@virtio-ts/spec'
import { linkName, listNames } from '../devices/read-text.ts'
import { scanDevices } from '../devices/scan-devices.ts'
import type { VirtioFunction } from '../devices/virtio-function.ts'
import type { TargetDriver } from './journal-entry.ts'
import type { TakeoverHost } from './takeover-host.ts'

/** @throws BindingError `binding.no-function`, CommandError `takeover.not-network` */
export function requireNetworkFunction(address: string, host: TakeoverHost): VirtioFunction {
  const found = scanDevices(host.roots).find((each) => each.address === address)
  if (found?.type === DeviceType.NETWORK) return found
  if (found === undefined && !host.sysfs.exists(`bus/pci/devices/${address}`))
    throw new BindingError(
      'binding.no-function',
      `there is no PCI function ${address} on this machine: netd devices lists those for netd`,
    )
  throw new CommandError('takeover.not-network', `${address} is no virtio network device`, {
    why:
      found === undefined
        ? 'it is no virtio device at all'
        : `it is a ${found.label}: taking it away from the kernel could take a disk or a console`,
    fix: 'netd devices lists those for netd',
  })
}

export function mayChange(address: string, host: TakeoverHost): boolean {
  return host.whyNotWritable(`bus/pci/devices/${address}/driver_override`) === undefined
}

/** @throws CommandError `takeover.permission` */
export function requirePermission(address: string, host: TakeoverHost): void {
  const why = host.whyNotWritable(`bus/pci/devices/${address}/driver_override`)
  if (why === undefined) return
  const isReadOnly = why === 'EROFS'
  throw new CommandError('takeover.permission', `the driver of ${address} may not be changed (${why})`, {
    why: isReadOnly ? 'sysfs is read-only here, as in most containers' : 'only root may bind and unbind drivers',
    fix: isReadOnly
      ? 'do it outside of the container, or start that one with --privileged'
      : 'run it as root: sudo netd ...',
  })
}

/** What would not come back, or cut this machine off. @throws CommandError `takeover.default-route`, `takeover.namespace`, `takeover.stacked` */
export function requireExpendable({ address, interfaces }: VirtioFunction, host: TakeoverHost): void {
  const routed = interfaces.find(({ defaultRoute }) => defaultRoute)
  if (routed !== undefined) {
    throw new CommandError(
      'takeover.default-route',
      `a default route of this machine goes over ${routed.name}, which is ${address}`,
      {
        why: 'without it this machine may be out of reach, also for you',
        fix: `--force, if that is what you want; netd release ${address} brings it back`,
      },
    )
  }
  if (interfaces.length === 0 && hasNetworkDriver(address, host)) {
    throw new CommandError('takeover.namespace', `the interface of ${address} is in another network namespace`, {
      why: 'its name, addresses and routes cannot be seen from here, and so would not come back',
      fix: `ip netns exec NAME netd bind ${address}; or --force`,
    })
  }
  for (const { name } of interfaces) {
    const stacked = stackedOn(name, host)
    if (stacked.length === 0) continue
    throw new CommandError(
      'takeover.stacked',
      `${stacked.join(', ')} on top of ${name} would be deleted, and not come back`,
      {
        why: 'the kernel deletes VLANs and the like together with what they stand on',
        fix: `ip link delete ${stacked[0]}; or --force`,
      },
    )
  }
}

/** Whether the kernel's network driver has the function: then it has an interface, which is here or elsewhere. */
function hasNetworkDriver(address: string, { sysfs }: TakeoverHost): boolean {
  const directory = `bus/pci/devices/${address}`
  return sysfs
    .list(directory)
    .some((name) => /^virtio\d+$/.test(name) && sysfs.linkName(`${directory}/${name}/driver`) === 'virtio_net')
}

/** Interfaces that stand on this one, but for the bridge or bond it belongs to, which is an upper one too. */
function stackedOn(name: string, { roots }: TakeoverHost): readonly string[] {
  const directory = `${roots.sys}/class/net/${name}`
  const master = linkName(`${directory}/master`)
  return listNames(directory)
    .flatMap((entry) => (entry.startsWith('upper_') ? entry.slice('upper_'.length) : []))
    .filter((upper) => upper !== master)
}

/** @throws CommandError `takeover.no-iommu`, `takeover.group` */
export function requireGroup(address: string, driver: TargetDriver, { sysfs }: TakeoverHost): void {
  if (driver !== 'vfio-pci') return
  const group = iommuGroup(address, sysfs)
  if (group === undefined) {
    if (sysfs.readText('module/vfio/parameters/enable_unsafe_noiommu_mode') === 'Y') return
    throw new CommandError('takeover.no-iommu', `${address} has no IOMMU group: vfio-pci does not take it`, {
      why: 'this machine has no IOMMU, or does not use it',
      fix: `kernel command line intel_iommu=on or amd_iommu=on; or without protection: netd run sysfs:${address}, netd bind ${address} --driver uio_pci_generic`,
    })
  }
  const blockers = iommuGroupBlockers(group)
  if (blockers.length === 0) return
  throw new CommandError(
    'takeover.group',
    `${address} shares IOMMU group ${group.number} with functions the kernel drives`,
    {
      why: blockers.map((each) => `${each.address} (${each.driver})`),
      fix: `give them to vfio-pci too, or to none: driverctl set-override ${blockers[0]?.address} vfio-pci`,
    },
  )
}

/** @throws CommandError `takeover.in-use` when somebody drives the function right now */
export function requireUnused(address: string, host: TakeoverHost): void {
  const driver = currentDriver(address, host.sysfs)
  const paths = [...deviceFiles(address, driver, host)]
  const [user] = paths.length === 0 ? [] : host.usersOf(paths)
  if (user === undefined) return
  throw new CommandError('takeover.in-use', `${address} is in use by ${user.program} (pid ${user.pid})`, {
    why: `it has ${user.path} open`,
    fix: `end it first: sudo kill ${user.pid}`,
  })
}

function* deviceFiles(address: string, driver: string | undefined, { sysfs }: TakeoverHost): Generator<string> {
  const directory = `bus/pci/devices/${address}`
  for (const name of sysfs.list(`${directory}/uio`)) yield `/dev/${name}`
  if (driver !== 'vfio-pci') return
  for (const name of sysfs.list(`${directory}/vfio-dev`)) yield `/dev/vfio/devices/${name}`
  const group = iommuGroup(address, sysfs)
  // A group of several may be open for the sake of another member: then the kernel decides.
  if (group === undefined || group.others.some((other) => other.driver === 'vfio-pci')) return
  yield `/dev/vfio/${group.number}`
  yield `/dev/vfio/noiommu-${group.number}`
}
