// @ts-check
// Random bytes from QEMU's entropy device: node examples/random-bytes.mjs
import { RngDriver } from '@virtio-ts/driver-rng'
import { QemuBench } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'

const bench = await QemuBench.start({ devices: ['virtio-rng-pci'] })
try {
  const rng = await RngDriver.open(await VirtioPciDriver.attach(bench.function(0)))
  const bytes = await rng.randomFill(new Uint8Array(32))
  console.log(Buffer.from(bytes).toString('hex'))
  await rng.close()
} finally {
  await bench.close()
}
