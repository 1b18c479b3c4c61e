import { netSuite } from '@virtio-ts/conformance'
import { NetDriver } from '@virtio-ts/driver-net'
import { QemuBench, StreamPeer } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterAll, beforeAll, describe } from 'vitest'
import { requirement } from '../requirements.ts'

/** Frames with an EtherType of 0x80.. are QEMU's own announcements (RARP), not the driver's. */
const RARP_HIGH = 0x80

const device = 'virtio-net-pci,netdev=n0,id=nic'
const faces = [
  ['modern', `${device},disable-legacy=on,host_mtu=1500,speed=1000,duplex=full`, 'auto'],
  ['transitional, by its legacy interface', device, 'legacy'],
  [
    'legacy without MRG_RXBUF, ANY_LAYOUT, EVENT_IDX and INDIRECT_DESC',
    `${device},disable-modern=on,mrg_rxbuf=off,any_layout=off,event_idx=off,indirect_desc=off`,
    'auto',
  ],
] as const

// The same suite that the models pass: what works there works on QEMU's devices too.
requirement('qemu')('the net suite on QEMU', () => {
  describe.each(faces)('%s', (name, properties, wanted) => {
    let bench: QemuBench
    let peer: StreamPeer
    const sent: Uint8Array[] = []

    beforeAll(async () => {
      peer = new StreamPeer('n0')
      peer.onFrame((frame) => {
        if (frame[12] !== RARP_HIGH) sent.push(frame)
      })
      bench = await QemuBench.start({ devices: [properties], netdevs: [peer] })
    })
    afterAll(() => bench?.close())

    netSuite(`QEMU ${name}`, {
      burst: 40,
      everyFeature: true,
      open: async (options) => {
        const fn = bench.function('nic')
        sent.length = 0
        const driver = await NetDriver.open(await VirtioPciDriver.attach(fn, { interface: wanted }), options)
        return {
          driver,
          deliver: (frame) => void peer.send(frame),
          sent: () => sent.splice(0),
          announce: () => void bench.qmp.announceSelf(['nic']),
          setLink: async (up) => void (await bench.qmp.setLink('nic', up)),
          allocatedBytes: () => fn.dma.stats.allocatedBytes,
        }
      },
    })
  })
})
