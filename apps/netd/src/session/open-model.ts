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
import type { ModelLocator } from '../locator.ts'
import type { OpenedDevice } from './opened-device.ts'

export interface OpenModel extends OpenedDevice {
  readonly fn: ModelPciFunction<NetModel>
  /** The host on the other end of the link. */
  readonly peer: NetPeer
}

const profiles: Readonly<Record<string, () => DeviceProfile>> = { honest, sloppy, strict }
const interfaces = ['modern', 'legacy', 'transitional'] as const
const known = ['profile', 'hostile', 'interface', 'mac', 'peer']

/**
 * A software network device with a host behind it that answers ARP, ping and UDP echo. Options: `profile=honest|sloppy|strict|vbox-4.3|vbox-7`,
 * `hostile=KIND` (a misdeed of the hostile profile, to see what comes of it), `interface=modern|legacy|transitional`, `mac=..`, `peer=IPV4`.
 * @throws NetdError `locator.option`
 */
export async function openModel({ options }: ModelLocator): Promise<OpenModel> {
  const unknown = Object.keys(options).find((key) => !known.includes(key))
  if (unknown !== undefined) throw wrong(unknown, `known are ${known.join(', ')}`)
  const { profile = 'honest', interface: face = 'modern', mac, peer: address, hostile: misdeed } = options
  if (mac !== undefined && !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac))
    throw wrong('mac', 'it is six pairs of hexadecimal digits')
  if (address !== undefined && !/^(\d{1,3}\.){3}\d{1,3}$/.test(address)) throw wrong('peer', 'it is an IPv4 address')
  const fn = makeFunction(profile, face, mac, misdeed)
  const peer = new NetPeer(address === undefined ? {} : { address })
  peer.attach(fn.model)
  return { fn, peer, release: () => fn.close() }
}

function makeFunction(
  profile: string,
  face: string,
  mac: string | undefined,
  misdeed: string | undefined,
): ModelPciFunction<NetModel> {
  const options = mac === undefined ? {} : { mac }
  if (profile === 'vbox-4.3') return vboxModel('4.3', options)
  if (profile === 'vbox-7') return vboxModel('7', options)
  const make = misdeed === undefined ? profiles[profile] : hostileProfile(misdeed)
  if (!make) throw wrong('profile', `one of ${[...Object.keys(profiles), 'vbox-4.3', 'vbox-7'].join(', ')}`)
  const known = interfaces.find((candidate) => candidate === face)
  if (!known) throw wrong('interface', `one of ${interfaces.join(', ')}`)
  return modelFunction(new NetModel(options), { interface: known, profile: make() })
}

function hostileProfile(misdeed: string): () => DeviceProfile {
  const kind = hostileKinds.find((candidate) => candidate === misdeed)
  if (!kind) throw wrong('hostile', `one of ${hostileKinds.join(', ')}`)
  return () => hostile({ kind })
}

function wrong(key: string, why: string): NetdError {
  return new NetdError('locator.option', `model:net cannot use the option ${key}`, {
    why,
    fix: 'model:net,profile=strict',
  })
}
