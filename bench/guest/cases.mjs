// @ts-check
// The NICs of the guest, and who drives them there.

/**
 * `driver`: the kernel's own, or netd by this locator scheme; `iommu`: the device's DMA goes through the guest's IOMMU;
 * `interface`: how the guest calls it.
 * @typedef {object} Case
 * @property {string} name on the command line and in the rows
 * @property {'kernel' | 'vfio' | 'sysfs'} driver
 * @property {'e1000' | 'virtio-net-pci'} device
 * @property {boolean} iommu
 * @property {readonly string[]} flags of `netd run`
 */

/** @type {readonly Case[]} */
export const cases = [
  { name: 'e1000', driver: 'kernel', device: 'e1000', iommu: false, flags: [] },
  { name: 'virtio_net', driver: 'kernel', device: 'virtio-net-pci', iommu: false, flags: [] },
  { name: 'vfio', driver: 'vfio', device: 'virtio-net-pci', iommu: true, flags: [] },
  { name: 'vfio-plain', driver: 'vfio', device: 'virtio-net-pci', iommu: true, flags: ['--no-offload'] },
  { name: 'sysfs', driver: 'sysfs', device: 'virtio-net-pci', iommu: false, flags: [] },
  { name: 'sysfs-plain', driver: 'sysfs', device: 'virtio-net-pci', iommu: false, flags: ['--no-offload'] },
]

/** What the others are compared with. */
export const peers = /** @type {const} */ (['virtio_net', 'e1000'])

const FIRST_SLOT = 4

/** @param {number} index of the NIC @returns {string} its place on the guest's PCI bus */
export const addressOf = (index) => `0000:00:${(FIRST_SLOT + index).toString(16).padStart(2, '0')}.0`

/** @param {number} index @returns {string} */
const macOf = (index) => `52:54:00:98:00:${index.toString(16).padStart(2, '0')}`

/** QEMU's arguments for the NIC of a case. @param {Case} one @param {number} index @param {string} tap @returns {string[]} */
export function nicArguments({ device, iommu }, index, tap) {
  const place = `netdev=net${index},addr=0x${(FIRST_SLOT + index).toString(16)},mac=${macOf(index)},romfile=`
  const own = device === 'e1000' ? '' : `,disable-legacy=on${iommu ? ',iommu_platform=on' : ''}`
  return [
    ...['-netdev', `tap,id=net${index},ifname=${tap},script=no,downscript=no,vhost=off`],
    ...['-device', `${device},${place}${own}`],
  ]
}
