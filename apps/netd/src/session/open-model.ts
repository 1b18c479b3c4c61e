import { isIPv4 } from 'node:net'
import {
  type DeviceProfile,
  honest,
  hostile,
  hostileKinds,
  type ModelPciFunction,
  modelFunction,
  NetModel,
  NetPeer,
  sloppy,
  strict,
  vboxModel,
} from '@virtio-ts/device-models'
import { NetdError } from '../command-line/netd-error.ts'
import type { LocatorOptions } from '../locator-options.ts'
import type { ModelLocator } from '../locator.ts'
import type { OpenedDevice } from './opened-device.ts'
import { pciDevice } from './pci-device.ts'

export interface OpenModel extends OpenedDevice {
  readonly fn: ModelPciFunction<NetModel>
  /** The host on the other end of the link. */
  readonly peer: NetPeer
}

const profiles: ReadonlyMap<string, () => DeviceProfile> = new Map([
  ['honest', honest],
  ['sloppy', sloppy],
  ['strict', strict],
])
const vboxVersions: ReadonlyMap<string, '4.3' | '7'> = new Map([
  ['vbox-4.3', '4.3'],
  ['vbox-7', '7'],
])
const interfaces = ['modern', 'legacy', 'transitional'] as const
const knownOptions = ['profile', 'hostile', 'interface', 'packed', 'mac', 'peer']

/**
 * A software network device with a host behind it that answers ARP, ping and UDP echo. The locator's options are described in
 * docs/netd.md.
 * @throws NetdError `locator.option`
 */
export async function openModel({ options }: ModelLocator): Promise<OpenModel> {
  const unknown = Object.keys(options).find((key) => !knownOptions.includes(key))
  if (unknown !== undefined) throw wrong(unknown, `known are ${knownOptions.join(', ')}`)
  const { mac, peer: address } = options
  if (mac !== undefined && !/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i.test(mac))
    throw wrong('mac', 'it is six pairs of hexadecimal digits, the first one even')
  if (address !== undefined && !isIPv4(address)) throw wrong('peer', 'it is an IPv4 address')
  const fn = makeFunction(options)
  const peer = new NetPeer(address === undefined ? {} : { address })
  peer.attach(fn.model)
  return { ...pciDevice(fn), fn, peer, release: () => fn.close() }
}

function makeFunction({
  profile = 'honest',
  hostile: misdeed,
  mac,
  ...rest
}: LocatorOptions): ModelPciFunction<NetModel> {
  const own = mac === undefined ? {} : { mac }
  const vbox = vboxVersions.get(profile)
  if (vbox) return vboxModel(vbox, own)
  const make = misdeed === undefined ? profiles.get(profile) : hostileProfile(misdeed)
  if (!make) throw wrong('profile', `one of ${[...profiles.keys(), ...vboxVersions.keys()].join(', ')}`)
  const face = interfaces.find((candidate) => candidate === (rest.interface ?? 'modern'))
  if (!face) throw wrong('interface', `one of ${interfaces.join(', ')}`)
  const packed = rest.packed ?? 'off'
  if (packed !== 'on' && packed !== 'off') throw wrong('packed', 'on or off')
  return modelFunction(new NetModel(own), {
    interface: face,
    profile: make(),
    ringFeatures: { RING_PACKED: packed === 'on' },
  })
}

function hostileProfile(misdeed: string): () => DeviceProfile {
  const kind = hostileKinds.find((candidate) => candidate === misdeed)
  if (!kind) throw wrong('hostile', `one of ${hostileKinds.join(', ')}`)
  return () => hostile({ kind })
}

function wrong(key: string, why: string): NetdError {
  return new NetdError('locator.option', `model:net cannot use this ${key}`, { why, fix: 'model:net,profile=strict' })
}
