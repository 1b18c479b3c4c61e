import { readFileSync } from 'node:fs'
import { iommuGroupBlockers } from '@virtio-ts/pci/binding'
import { DeviceType, VirtioPci } from '@virtio-ts/spec'
import { defaultRouteInterfaces } from './default-routes.ts'
import { deviceLabel } from './device-label.ts'
import { linkName, listNames, readText } from './read-text.ts'
import type { VirtioFunction } from './virtio-function.ts'

/** Where the kernel shows itself; injectable for tests. */
export interface SystemRoots {
  readonly sys: string
  readonly proc: string
}

/** The real ones. */
export const systemRoots: SystemRoots = { sys: '/sys', proc: '/proc' }

/** Virtio device types of the transitional IDs. @see VIRTIO 1.3 § 4.1.2.1 "Device Requirements: PCI Device Discovery" */
const transitionalTypes: Readonly<Record<number, number>> = {
  0x1000: DeviceType.NETWORK,
  0x1001: DeviceType.BLOCK,
  0x1002: DeviceType.BALLOON,
  0x1003: DeviceType.CONSOLE,
  0x1004: DeviceType.SCSI,
  0x1005: DeviceType.ENTROPY,
  0x1009: DeviceType.NINE_P,
}

const lastDeviceId = 0x107f

function readNumber(path: string): number | undefined {
  const text = readText(path)
  const number = text === undefined ? Number.NaN : Number(text)
  return Number.isInteger(number) ? number : undefined
}

/** Whether the function lists a vendor-specific capability, which is how virtio's structures are found; undefined when we may not see. */
function hasVirtioCapabilities(path: string): boolean | undefined {
  let config: Buffer
  try {
    config = readFileSync(path)
  } catch {
    return undefined
  }
  const status = config[0x06] ?? 0
  if ((status & 0x10) === 0) return config.length >= 64 ? false : undefined
  let offset = (config[0x34] ?? 0) & 0xfc
  // At most 48 capabilities fit behind the header: a longer list bites its tail.
  for (let seen = 0; offset !== 0 && seen < 48; seen++) {
    if (offset + 2 > config.length) return undefined
    if (config[offset] === 0x09) return true
    offset = (config[offset + 1] ?? 0) & 0xfc
  }
  return false
}

function generationOf(device: number, directory: string): VirtioFunction['generation'] {
  if (device >= VirtioPci.MODERN_DEVICE_ID_BASE) return 'modern'
  const capabilities = hasVirtioCapabilities(`${directory}/config`)
  if (capabilities === undefined) return 'transitional-or-legacy'
  return capabilities ? 'transitional' : 'legacy'
}

/** The interface and everything stacked on it: a bridge over eth0 may be what the default route names. */
function withUppers(net: string, name: string, seen: Set<string> = new Set()): Set<string> {
  if (seen.has(name)) return seen
  seen.add(name)
  for (const entry of listNames(`${net}/${name}`)) {
    if (entry.startsWith('upper_')) withUppers(net, entry.slice('upper_'.length), seen)
    if (entry === 'master') withUppers(net, linkName(`${net}/${name}/master`) ?? name, seen)
  }
  return seen
}

function needsOf(found: Omit<VirtioFunction, 'needs'>): string[] {
  if (found.type !== DeviceType.NETWORK) return []
  const needs: string[] = []
  const routed = found.interfaces.find(({ defaultRoute }) => defaultRoute)
  if (routed !== undefined) needs.push(`--force: a default route of this machine goes over ${routed.name}`)
  if (found.driver !== 'vfio-pci') {
    const change =
      found.driver === null ? 'a binding to vfio-pci' : `its driver changed from ${found.driver} to vfio-pci`
    needs.push(`${change}: sudo netd bind ${found.address}${routed === undefined ? '' : ' --force'}`)
  }
  if (found.iommuGroup === null) needs.push('an IOMMU, or sysfs: with hugepages')
  const blockers = iommuGroupBlockers({
    others: found.groupMembers.map(({ address, driver }) => ({ address, driver: driver ?? undefined })),
  })
  for (const { address, driver } of blockers)
    needs.push(`the rest of IOMMU group ${found.iommuGroup} taken from the kernel too: ${address} (${driver})`)
  return needs
}

/** The virtio PCI functions of this machine, by address. Reads only, and only what every user may read. */
export function scanDevices({ sys, proc }: SystemRoots = systemRoots): VirtioFunction[] {
  const bus = `${sys}/bus/pci/devices`
  const net = `${sys}/class/net`
  const routed = defaultRouteInterfaces(proc)
  const found: VirtioFunction[] = []
  for (const address of listNames(bus)) {
    const directory = `${bus}/${address}`
    const vendor = readNumber(`${directory}/vendor`)
    const device = readNumber(`${directory}/device`)
    if (vendor !== VirtioPci.VENDOR_ID || device === undefined) continue
    if (device < VirtioPci.TRANSITIONAL_DEVICE_ID_FIRST || device > lastDeviceId) continue
    const isModern = device >= VirtioPci.MODERN_DEVICE_ID_BASE
    const type = isModern
      ? device - VirtioPci.MODERN_DEVICE_ID_BASE
      : (transitionalTypes[device] ?? readNumber(`${directory}/subsystem_device`) ?? 0)
    const group = linkName(`${directory}/iommu_group`)
    const names = listNames(directory)
      .filter((entry) => /^virtio\d+$/.test(entry))
      .flatMap((virtio) => listNames(`${directory}/${virtio}/net`).map((name) => ({ virtio, name })))
    const entry = {
      address,
      vendor,
      device,
      revision: readNumber(`${directory}/revision`) ?? 0,
      type,
      label: deviceLabel(type),
      generation: generationOf(device, directory),
      driver: linkName(`${directory}/driver`) ?? null,
      iommuGroup: group === undefined ? null : Number(group),
      groupMembers: listNames(`${directory}/iommu_group/devices`)
        .filter((other) => other !== address)
        .map((other) => ({ address: other, driver: linkName(`${bus}/${other}/driver`) ?? null })),
      interfaces: names.map(({ virtio, name }) => ({
        name,
        defaultRoute: [...withUppers(net, name)].some((each) => routed.has(each)),
        up: readText(`${net}/${name}/operstate`) === 'up',
        mac: readText(`${directory}/${virtio}/net/${name}/address`) ?? null,
        mtu: readNumber(`${directory}/${virtio}/net/${name}/mtu`) ?? null,
        addresses: [],
        routes: [],
      })),
      taken: null,
    }
    found.push({ ...entry, needs: needsOf(entry) })
  }
  return found
}
