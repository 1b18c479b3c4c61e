// @ts-check
// How long until a driver has a device: QEMU spawned, machine set up, PCI scanned, features negotiated, DRIVER_OK.
import { NetDriver } from '@virtio-ts/driver-net'
import { QemuBench } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { alternate } from './report.mjs'

const machine = /** @type {const} */ ({ devices: ['virtio-net-pci,netdev=n0'], netdevs: ['user,id=n0'] })

export async function* run() {
  yield await alternate(
    'spawn to DRIVER_OK',
    'ms',
    15,
    () => measure(true),
    () => measure(false),
  )
}

/** @param {boolean} drive @returns {Promise<number>} milliseconds */
async function measure(drive) {
  const start = performance.now()
  const bench = await QemuBench.start(machine)
  const net = drive ? await NetDriver.open(await VirtioPciDriver.attach(bench.function(0))) : undefined
  const time = performance.now() - start
  await net?.close()
  await bench.close()
  return time
}
