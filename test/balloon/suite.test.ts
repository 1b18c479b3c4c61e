import { driverSuite } from '@virtio-ts/conformance'
import { BalloonDriver, balloonSpec, DmaPageSource } from '@virtio-ts/driver-balloon'
import { QemuBench } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, beforeEach } from 'vitest'
import { requirement } from '../requirements.ts'

const MEMORY = 64 * 1024 * 1024

// What the models pass, on QEMU's device.
requirement('qemu')('the driver suite on the balloon of QEMU', () => {
  let bench: QemuBench

  beforeEach(async () => {
    const device = 'virtio-balloon-pci,disable-legacy=on,free-page-reporting=on,deflate-on-oom=on,id=balloon'
    bench = await QemuBench.start({ memory: MEMORY, devices: [device] })
  })
  afterEach(() => bench?.close())

  driverSuite('balloon', {
    spec: balloonSpec,
    attach: async () => ({ transport: await VirtioPciDriver.attach(bench.function('balloon')) }),
    open: (transport, options) =>
      BalloonDriver.open(transport, {
        ...options,
        pages: new DmaPageSource(transport.dma),
        statistics: () => ({ free: 1 }),
      }),
    use: async (driver) => {
      for (const pages of [300, 0]) {
        await driver.report()
        await bench.qmp.execute('balloon', { value: MEMORY - pages * 4096 })
        while (driver.actual !== pages) {
          driver.poll()
          await driver.report()
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
    },
    rounds: 20,
  })
})
