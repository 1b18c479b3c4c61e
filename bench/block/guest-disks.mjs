// @ts-check
// A Linux guest with two equal disks: the kernel's, and one behind the guest's IOMMU that blkd drives through VFIO.
import { bootGuest } from '../../scripts/guest/linux-guest.mjs'
import { describeGuest } from '../guest/describe-guest.mjs'

/** Where the disks are on the guest's PCI bus. */
const kernels = { slot: '0x4', address: '0000:00:04.0' }
const ours = { slot: '0x5', address: '0000:00:05.0' }

/** A queue for each of the guest's processors: what the kernel's driver is at its best with. */
const QUEUES = 2
/** Far more than a start takes, also where nothing virtualises the guest. */
const START_SECONDS = 60

/** A guest with both disks bound; close it. */
export class GuestDisks {
  #guest
  /** The kernel's, as `/dev/...`, and ours, as a locator. */
  targets

  /** @param {import('../../scripts/guest/linux-guest.mjs').Guest} guest @param {{ kernel: string, ours: string }} targets */
  constructor(guest, targets) {
    this.#guest = guest
    this.targets = targets
  }

  /** @param {{ kernel: string, ours: string }} images raw, of one size @param {number} timeoutSeconds @returns {Promise<GuestDisks>} */
  static async boot(images, timeoutSeconds) {
    const guest = await bootGuest({
      timeoutSeconds,
      iommu: true,
      parts: ['block'],
      // Debian's default, and no translation for the kernel's own driver: it is compared at its best.
      kernelArguments: 'init_on_alloc=1 iommu=pt',
      qemuArguments: [
        ...disk('kernel', images.kernel, `addr=${kernels.slot}`),
        ...disk('ours', images.ours, `addr=${ours.slot},iommu_platform=on`),
      ],
    })
    try {
      await shell(guest, bind)
      return new GuestDisks(guest, {
        kernel: `/dev/${await shell(guest, whatTheKernelCallsIt)}`,
        ours: `vfio:${ours.address}`,
      })
    } catch (error) {
      await guest.kill()
      throw error
    }
  }

  /** One line about the guest: what its figures depend on. @returns {Promise<string>} */
  describe() {
    return describeGuest(this.#guest, ', $(fio --version)')
  }

  /** @param {readonly string[]} command @param {number} seconds it takes @returns {Promise<string>} what it says @throws Error when it fails */
  async run(command, seconds) {
    const { code, stdout, stderr } = await this.#guest.run([...command], { timeoutSeconds: seconds + START_SECONDS })
    if (code !== 0) throw new Error(`in the guest: ${command.join(' ')}: status ${code}: ${stderr}${stdout}`)
    return stdout
  }

  /** Powers off. @throws GuestError `guest.complaint` when the kernel or QEMU complained */
  async close() {
    await this.#guest.shutdown()
  }

  kill() {
    return this.#guest.kill()
  }
}

/** @param {string} id @param {string} image @param {string} more properties of the device @returns {string[]} */
function disk(id, image, more) {
  // A comma in a path is written twice.
  const drive = `if=none,id=${id},file=${image.replaceAll(',', ',,')},format=raw,cache=writeback`
  return ['-drive', drive, '-device', `virtio-blk-pci,drive=${id},num-queues=${QUEUES},disable-legacy=on,${more}`]
}

const bind = `
modprobe vfio-pci
F=/sys/bus/pci/devices/${ours.address}
echo vfio-pci > $F/driver_override
[ ! -e $F/driver ] || echo ${ours.address} > $F/driver/unbind
echo ${ours.address} > /sys/bus/pci/drivers_probe
modprobe virtio_blk`

const whatTheKernelCallsIt = `
for I in $(seq 100); do
  for D in /sys/bus/pci/devices/${kernels.address}/virtio*/block/*; do
    [ ! -b "/dev/$(basename "$D")" ] || { basename "$D"; exit; }
  done
  sleep 0.1
done
echo "the kernel has no disk at ${kernels.address}" >&2
exit 1`

/** @param {import('../../scripts/guest/linux-guest.mjs').Guest} guest @param {string} script @returns {Promise<string>} */
async function shell(guest, script) {
  const { code, stdout, stderr } = await guest.run(['sh', '-euc', script])
  if (code !== 0) throw new Error(`in the guest: ${script}: status ${code}: ${stderr}${stdout}`)
  return stdout.trim()
}
