import { driverSuite } from '@virtio-ts/conformance'
import { RngDriver, rngSpec } from '@virtio-ts/driver-rng'
import { QemuBench } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, beforeEach, expect } from 'vitest'
import { requirement } from '../../requirements.ts'

requirement('qemu')('virtio-rng-pci of QEMU', () => {
  let bench: QemuBench
  beforeEach(async () => {
    bench = await QemuBench.start({ devices: ['virtio-rng-pci'] })
  })
  afterEach(() => bench.close())

  driverSuite('rng', {
    spec: rngSpec,
    attach: async () => ({ transport: await VirtioPciDriver.attach(bench.function(0)) }),
    open: (transport, options) => RngDriver.open(transport, options),
    use: async (rng) => {
      const bytes = await rng.randomFill(new Uint8Array(64))
      expect(bytes.some((byte) => byte !== 0)).toBe(true)
    },
  })
})
