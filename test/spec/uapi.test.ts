import { existsSync, readFileSync } from 'node:fs'
import {
  BlockFeature,
  BlockRequest,
  BalloonFeature,
  BalloonHint,
  BalloonStat,
  ConsoleControl,
  ConsoleFeature,
  DeviceType,
  NetConfig,
  NetControl,
  NetFeature,
  NetHeader,
  PackedRing,
  PciCapabilityType,
  ReservedFeature,
  SplitRing,
} from '@virtio-ts/spec'
import { expect, it } from 'vitest'
import { requirement } from '../requirements.ts'

const folder = '/usr/include/linux'
const needed = (): string | undefined =>
  existsSync(`${folder}/virtio_net.h`) ? undefined : `no ${folder}/virtio_net.h (apt-get install linux-libc-dev)`

/** `#define PREFIX_NAME VALUE` of a header, by NAME. */
function defines(header: string, prefix: string): Map<string, number> {
  const text = readFileSync(`${folder}/${header}`, 'utf8')
  const found = text.matchAll(new RegExp(`^\\s*#define\\s+${prefix}(\\w+)\\s+(0x[0-9a-fA-F]+|\\d+)`, 'gm'))
  return new Map(Array.from(found, ([, name, value]) => [name as string, Number(value)]))
}

/** Compares what both name; `least` names must be in both, or the comparison compared nothing. */
function compare(ours: Readonly<Record<string, number>>, theirs: Map<string, number>, least: number): void {
  const common = Object.keys(ours).filter((name) => theirs.has(name))
  expect(common.length).toBeGreaterThanOrEqual(least)
  expect(Object.fromEntries(common.map((name) => [name, ours[name]]))).toEqual(
    Object.fromEntries(common.map((name) => [name, theirs.get(name)])),
  )
}

requirement(needed)('the numbers of the specification, against the headers of Linux', () => {
  it('block features', () => compare(BlockFeature, defines('virtio_blk.h', 'VIRTIO_BLK_F_'), 12))
  it('types and statuses of block requests', () => compare(BlockRequest, defines('virtio_blk.h', 'VIRTIO_BLK_'), 9))
  it('network features', () => compare(NetFeature, defines('virtio_net.h', 'VIRTIO_NET_F_'), 25))
  it('console features and control messages', () => {
    compare(ConsoleFeature, defines('virtio_console.h', 'VIRTIO_CONSOLE_F_'), 3)
    const theirs = defines('virtio_console.h', 'VIRTIO_CONSOLE_')
    const { DEVICE_ADD: PORT_ADD, DEVICE_REMOVE: PORT_REMOVE, ...others } = ConsoleControl
    compare({ PORT_ADD, PORT_REMOVE, ...others }, theirs, 8)
  })
  it('balloon features, statistics and hints', () => {
    compare(
      { ...BalloonFeature, REPORTING: BalloonFeature.PAGE_REPORTING },
      defines('virtio_balloon.h', 'VIRTIO_BALLOON_F_'),
      6,
    )
    compare(BalloonStat, defines('virtio_balloon.h', 'VIRTIO_BALLOON_'), 10)
    compare(BalloonHint, defines('virtio_balloon.h', 'VIRTIO_BALLOON_'), 2)
  })
  it('reserved features', () => {
    const all = new Map([...defines('virtio_config.h', 'VIRTIO_F_'), ...defines('virtio_ring.h', 'VIRTIO_RING_F_')])
    compare(ReservedFeature, all, 7)
  })
  it('network configuration and header', () => {
    compare(NetConfig, defines('virtio_net.h', 'VIRTIO_NET_'), 2)
    compare(NetHeader, new Map([...defines('virtio_net.h', 'VIRTIO_NET_HDR_')]), 8)
  })
  it('classes and commands of the control queue', () => {
    const theirs = defines('virtio_net.h', 'VIRTIO_NET_CTRL_')
    expect(theirs.get('RX')).toBe(NetControl.RX.CLASS)
    expect(theirs.get('MAC')).toBe(NetControl.MAC.CLASS)
    expect(theirs.get('VLAN')).toBe(NetControl.VLAN.CLASS)
    expect(theirs.get('ANNOUNCE')).toBe(NetControl.ANNOUNCE.CLASS)
    expect(theirs.get('MQ')).toBe(NetControl.MQ.CLASS)
    expect(theirs.get('GUEST_OFFLOADS')).toBe(NetControl.GUEST_OFFLOADS.CLASS)
    const { CLASS: _, ...commands } = NetControl.RX
    compare(
      commands,
      new Map(
        Array.from(theirs).flatMap(([name, value]) =>
          name.startsWith('RX_') ? [[name.slice(3), value] as const] : [],
        ),
      ),
      5,
    )
  })
  it('PCI capability types', () => {
    const { COMMON, NOTIFY, ISR, DEVICE, PCI } = PciCapabilityType
    compare(
      { COMMON_CFG: COMMON, NOTIFY_CFG: NOTIFY, ISR_CFG: ISR, DEVICE_CFG: DEVICE, PCI_CFG: PCI },
      defines('virtio_pci.h', 'VIRTIO_PCI_CAP_'),
      5,
    )
  })
  it('packed rings', () => {
    const theirs = defines('virtio_ring.h', 'VRING_PACKED_')
    const bits = { DESC_F_AVAIL: Math.log2(PackedRing.DESC_F_AVAIL), DESC_F_USED: Math.log2(PackedRing.DESC_F_USED) }
    compare(bits, theirs, 2)
    const events = {
      EVENT_FLAG_ENABLE: PackedRing.EVENT_FLAGS_ENABLE,
      EVENT_FLAG_DISABLE: PackedRing.EVENT_FLAGS_DISABLE,
      EVENT_FLAG_DESC: PackedRing.EVENT_FLAGS_DESC,
    }
    compare(events, theirs, 3)
    expect(PackedRing.EVENT_WRAP).toBe(1 << theirs.get('EVENT_F_WRAP_CTR')!)
  })

  it('descriptor flags', () => {
    const theirs = defines('virtio_ring.h', 'VRING_')
    expect([theirs.get('DESC_F_NEXT'), theirs.get('DESC_F_WRITE'), theirs.get('DESC_F_INDIRECT')]).toEqual([
      SplitRing.DESC_F_NEXT,
      SplitRing.DESC_F_WRITE,
      SplitRing.DESC_F_INDIRECT,
    ])
  })
  it('device IDs', () => {
    const theirs = defines('virtio_ids.h', 'VIRTIO_ID_')
    const {
      NETWORK: NET,
      BLOCK,
      CONSOLE,
      ENTROPY: RNG,
      BALLOON,
      SCSI,
      NINE_P,
      GPU,
      INPUT,
      VSOCK,
      CRYPTO,
      IOMMU,
      MEMORY: MEM,
      FILE_SYSTEM: FS,
      PMEM,
    } = DeviceType
    compare(
      { NET, BLOCK, CONSOLE, RNG, BALLOON, SCSI, '9P': NINE_P, GPU, INPUT, VSOCK, CRYPTO, IOMMU, MEM, FS, PMEM },
      theirs,
      14,
    )
  })
})
