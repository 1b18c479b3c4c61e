// @ts-check
// Frames from a QEMU network card: asks the network for 10.0.2.2 and prints what comes. node examples/frames-from-qemu.mjs
import { formatMac, NetDriver } from '@virtio-ts/driver-net'
import { QemuBench } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'

const bench = await QemuBench.start({ devices: ['virtio-net-pci,netdev=n0'], netdevs: ['user,id=n0'] })
try {
  const net = await NetDriver.open(await VirtioPciDriver.attach(bench.function(0)))
  const arp = Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1, ...net.mac, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2)
  net.send(Uint8Array.of(...new Array(6).fill(0xff), ...net.mac, 0x08, 0x06, ...arp, ...new Array(18).fill(0)))
  for await (const frame of net.frames()) {
    console.log(`${frame.length} bytes from ${formatMac(frame.subarray(6, 12))}`)
    break
  }
  await net.close()
} finally {
  await bench.close()
}
