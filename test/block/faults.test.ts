import { requirement } from '../requirements.ts'
import { QemuDisk } from '../support/block-bench.ts'
import { faultSuite } from '../support/fault-suite.ts'
import { StorageDaemonDisk } from '../support/storage-daemon-disk.ts'

/** QEMU makes one request of several neighbours otherwise, and all of them fail together. */
const properties = 'disable-legacy=on,request-merging=off'

requirement('qemu')('a disk of QEMU that fails', () => {
  faultSuite((needs) => QemuDisk.start({ ...needs, properties }))
})

requirement('qemu-storage-daemon')('a disk of qemu-storage-daemon that fails', () => {
  faultSuite((needs) => StorageDaemonDisk.start(needs))
})
