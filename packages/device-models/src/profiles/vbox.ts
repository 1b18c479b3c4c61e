import { featureSet, NetFeature } from '@virtio-ts/spec'
import type { DmaAllocator } from '@virtio-ts/memory'
import type { DeviceCore } from '../device-core.ts'
import type { DeviceMoments, DevicePoint, DeviceProfile } from '../device-profile.ts'
import { NetModel } from '../net/net-model.ts'
import { type ModelPciFunction, modelFunction } from '../pci/model-pci-function.ts'

export interface VboxOptions {
  readonly mac?: string
  readonly dma?: DmaAllocator
  readonly address?: string
  readonly execution?: 'immediate' | 'deferred'
}

const LEGACY_QUEUES = 3
const BAD_FEATURE_BIT = 30
const BAD_FEATURE = featureSet(BAD_FEATURE_BIT)
const MAC_ONLY = featureSet(NetFeature.MAC)

/** The network device of VirtualBox as driver authors met it: version 4.3 is legacy only, version 7 transitional. */
export function vboxModel(version: '4.3' | '7', options: VboxOptions = {}): ModelPciFunction<NetModel> {
  return version === '4.3' ? vbox43(options) : vbox7(options)
}

/** No MSI-X, no ring features, no offload command; interrupts through ISR alone. */
function vbox43(options: VboxOptions): ModelPciFunction<NetModel> {
  const { mac, ...rest } = options
  const model = new NetModel({
    ...(mac === undefined ? {} : { mac }),
    queueSizes: [256, 256, 16],
    promiscuous: true,
    features: {
      CTRL_GUEST_OFFLOADS: false,
      MTU: false,
      CTRL_RX_EXTRA: false,
      CTRL_MAC_ADDR: false,
      GUEST_ANNOUNCE: false,
      SPEED_DUPLEX: false,
      GUEST_ECN: false,
      HOST_ECN: false,
    },
  })
  return modelFunction(model, {
    ...rest,
    interface: 'legacy',
    msix: false,
    functionReset: false,
    ringFeatures: { INDIRECT_DESC: false, EVENT_IDX: false, ANY_LAYOUT: false, NOTIFY_ON_EMPTY: true },
    extraFeatures: BAD_FEATURE,
    profile: vbox43Profile(),
  })
}

function vbox43Profile(): DeviceProfile {
  return {
    name: 'vbox-4.3',
    configurationIsr: 3,
    on<Point extends DevicePoint>(point: Point, moment: DeviceMoments[Point], _device: DeviceCore | undefined): void {
      if (point === 'queue-select') selectKnown(moment as DeviceMoments['queue-select'])
      if (point === 'accept') acceptAnything(moment as DeviceMoments['accept'])
      if (point === 'transmit') demandOwnHeader(moment as DeviceMoments['transmit'])
      if (point === 'receive-buffer') demandReceiveHeader(moment as DeviceMoments['receive-buffer'])
    },
  }
}

/** Selecting a queue that is not there is ignored: the size of the one selected before is read, and the list never ends. */
function selectKnown(moment: DeviceMoments['queue-select']): void {
  if (moment.queue >= LEGACY_QUEUES) moment.queue = moment.previous
}

/** One bit that was not offered, and the device takes all it has; bit 30, and it takes next to nothing. */
function acceptAnything(moment: DeviceMoments['accept']): void {
  if ((moment.wanted & BAD_FEATURE) !== 0n) moment.accepted = MAC_ONLY
  else if ((moment.wanted & ~moment.offered) !== 0n) moment.accepted = moment.offered & ~BAD_FEATURE
}

/** A packet whose header is not alone in its descriptor is never consumed, and the queue stands still. */
function demandOwnHeader(moment: DeviceMoments['transmit']): void {
  const { readable } = moment.chain
  if (readable.length < 2 || readable[0]?.length !== moment.headerLength) moment.consume = false
}

function demandReceiveHeader(moment: DeviceMoments['receive-buffer']): void {
  const { mergeable, headerLength, chain } = moment
  if (!mergeable && headerLength > 0 && chain.writable[0]?.length !== headerLength) moment.usable = false
}

const VBOX7_QUEUES = 24
const VBOX7_QUEUE_SIZE = 1024
const MASS_STORAGE = 0x010000

/** Always 24 queues of 1024, no judgement of features, vectors preset, the wrong class, structures in BAR 2. */
function vbox7(options: VboxOptions): ModelPciFunction<NetModel> {
  const { mac, ...rest } = options
  const model = new NetModel({
    ...(mac === undefined ? {} : { mac }),
    queueSizes: Array.from({ length: VBOX7_QUEUES }, () => VBOX7_QUEUE_SIZE),
    features: {
      CTRL_GUEST_OFFLOADS: false,
      MTU: false,
      CTRL_RX_EXTRA: false,
      CTRL_MAC_ADDR: false,
      SPEED_DUPLEX: false,
      GUEST_ECN: false,
      HOST_ECN: false,
    },
  })
  return modelFunction(model, {
    ...rest,
    interface: 'transitional',
    capsBar: 2,
    notifyOffMultiplier: 2,
    classCode: MASS_STORAGE,
    legacyVectorRegisters: false,
    msix: VBOX7_QUEUES + 2,
    functionReset: false,
    ringFeatures: { INDIRECT_DESC: false, EVENT_IDX: false, ANY_LAYOUT: false, RING_RESET: false },
    profile: {
      name: 'vbox-7',
      defaultVector: (queue) => queue + 2,
      on<Point extends DevicePoint>(point: Point, moment: DeviceMoments[Point], _device: DeviceCore | undefined): void {
        if (point === 'queue-unmap') (moment as DeviceMoments['queue-unmap']).resetDevice = false
        if (point === 'accept') (moment as DeviceMoments['accept']).ok = true
      },
    },
  })
}
