import { isIPv4 } from 'node:net'
import {
  checkModelOptions,
  type LocatorOptions,
  modelFunctionOptions,
  modelOptionError,
  type OpenedDevice,
  ownedPciDevice,
} from '@virtio-ts/device-locator'
import { type ModelPciFunction, modelFunction, NetModel, NetPeer, vboxModel } from '@virtio-ts/device-models'

export interface OpenModel extends OpenedDevice {
  readonly fn: ModelPciFunction<NetModel>
  /** The host on the other end of the link. */
  readonly peer: NetPeer
}

const vboxVersions: ReadonlyMap<string, '4.3' | '7'> = new Map([
  ['vbox-4.3', '4.3'],
  ['vbox-7', '7'],
])

/**
 * A software network device with a host behind it that answers ARP, ping and UDP echo. The locator's options are described in
 * docs/netd.md.
 * @throws CommandError `locator.option`
 */
export async function openModel(options: LocatorOptions): Promise<OpenModel> {
  checkModelOptions('net', options, ['mac', 'peer'])
  const { mac, peer: address } = options
  if (mac !== undefined && !/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i.test(mac))
    throw modelOptionError('net', 'mac', 'it is six pairs of hexadecimal digits, the first one even')
  if (address !== undefined && !isIPv4(address)) throw modelOptionError('net', 'peer', 'it is an IPv4 address')
  const fn = makeFunction(options)
  const peer = new NetPeer(address === undefined ? {} : { address })
  peer.attach(fn.model)
  return { ...ownedPciDevice(fn), fn, peer }
}

function makeFunction(options: LocatorOptions): ModelPciFunction<NetModel> {
  const { mac, profile = 'honest' } = options
  const own = mac === undefined ? {} : { mac }
  const vbox = vboxVersions.get(profile)
  if (vbox) return vboxModel(vbox, own)
  return modelFunction(new NetModel(own), modelFunctionOptions('net', options, [...vboxVersions.keys()]))
}
