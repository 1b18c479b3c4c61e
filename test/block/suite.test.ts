import { driverSuite } from '@virtio-ts/conformance'
import { BlockDriver, blockSpec } from '@virtio-ts/driver-block'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { describe, expect } from 'vitest'
import { requirement } from '../requirements.ts'
import { QemuDisk, type QemuDiskOptions } from '../support/block-bench.ts'
import { type DiskFace, diskSuite, mixSuite } from '../support/disk-suite.ts'
import { StorageDaemonDisk, type StorageDaemonDiskOptions } from '../support/storage-daemon-disk.ts'

type Face = Omit<DiskFace, 'start'>

/** 100,000 in all over five faces. */
const OPERATIONS = 20_000

async function use(driver: BlockDriver): Promise<void> {
  const data = new Uint8Array(4096).fill(7)
  await driver.write(4096, data)
  expect(await driver.read(4096, 4096)).toEqual(data)
}

// The same suites that the models pass: what works there works on QEMU's device too.
requirement('qemu')('the block suites on QEMU', () => {
  const face = (options: QemuDiskOptions, rest: Face): DiskFace & QemuDiskOptions => ({
    id: 'qemu-disk',
    ...rest,
    ...options,
    start: () => QemuDisk.start(options),
  })
  const faces = [
    face({}, { name: 'modern', has: ['VERSION_1', 'EVENT_IDX', 'DISCARD'], hasNot: ['RING_PACKED'] }),
    face({ properties: 'disable-modern=on' }, { name: 'legacy', hasNot: ['VERSION_1'] }),
    face({ properties: 'disable-legacy=on,packed=on' }, { name: 'packed', has: ['RING_PACKED'] }),
    face({ properties: 'disable-legacy=on,num-queues=4' }, { name: 'four queues', has: ['MQ'], queues: 4 }),
    face(
      { properties: 'disable-legacy=on,logical_block_size=4096,physical_block_size=4096' },
      { name: 'blocks of 4096 bytes', blockSize: 4096 },
    ),
    face(
      { properties: 'event_idx=off,indirect_desc=off', interface: 'legacy' },
      { name: 'transitional, by its legacy interface' },
    ),
  ]

  for (const one of faces) diskSuite({ ...one, name: `QEMU ${one.name}` })

  describe.each(faces.filter(({ name }) => name === 'four queues' || name === 'legacy'))('$name', (one) => {
    driverSuite(`QEMU ${one.name}`, {
      spec: blockSpec,
      rounds: 4,
      // A bench of its own for each: some tests leave the device in a sorry state.
      attach: async () => {
        const disk = await QemuDisk.start(one)
        const transport = await VirtioPciDriver.attach(disk.fn, { interface: one.interface ?? 'auto' })
        return { transport, dispose: () => disk.close() }
      },
      open: (transport, options) => BlockDriver.open(transport, options),
      use,
    })
  })

  for (const one of faces.slice(0, 5)) mixSuite(one, OPERATIONS)
})

requirement('qemu-storage-daemon')('the block suites on qemu-storage-daemon, by vhost-user', () => {
  // 7.2 offers no packed ring: those are our own back-end's, in back-end.test.ts.
  const has = ['VERSION_1', 'EVENT_IDX', 'INDIRECT_DESC', 'DISCARD', 'WRITE_ZEROES', 'FLUSH', 'CONFIG_WCE', 'SEG_MAX']
  const face = (options: StorageDaemonDiskOptions, rest: Face): DiskFace => ({
    has,
    hasNot: ['RING_PACKED'],
    ...rest,
    start: () => StorageDaemonDisk.start(options),
  })
  const faces = [
    face({}, { name: 'one queue' }),
    face({ queues: 4 }, { name: 'four queues', has: [...has, 'MQ'], queues: 4 }),
    face({ blockSize: 4096 }, { name: 'blocks of 4096 bytes', blockSize: 4096 }),
    face({ blockSize: 4096, queues: 4 }, { name: 'four queues, blocks of 4096 bytes', blockSize: 4096, queues: 4 }),
  ]

  for (const one of faces) {
    diskSuite({ ...one, name: `qemu-storage-daemon ${one.name}` })
    mixSuite(one, 25_000)
  }

  driverSuite('qemu-storage-daemon', {
    spec: blockSpec,
    rounds: 20,
    attach: async () => {
      const disk = await StorageDaemonDisk.start({ queues: 4 })
      return { transport: await disk.endpoint.connect({ wait: true }), dispose: () => disk.close() }
    },
    open: (transport, options) => BlockDriver.open(transport, options),
    use,
  })
})
