import { DeviceType } from '@virtio-ts/spec'
import { VhostUserEndpoint } from '@virtio-ts/transport-vhost-user'
import { causesOf, codeOf } from '../command-line/exit-code-of.ts'
import { NetdError } from '../command-line/netd-error.ts'
import type { VhostUserLocator } from '../locator.ts'
import { parseMac } from '../packets/ethernet-frame.ts'
import type { OpenedDevice } from './opened-device.ts'

/** What a network device's front-end decides where the back-end leaves it to it. */
export interface VhostUserNet {
  /** `52:54:00:12:34:56` */
  readonly mac?: string
  readonly mtu?: number
}

/** The network device of a vhost-user back-end. Nobody has connected to it yet. */
export function openVhostUser(locator: VhostUserLocator, { mac, mtu }: VhostUserNet): OpenedDevice {
  const { path, server } = locator
  const net = { ...(mac === undefined ? {} : { mac: parseMac(mac) }), ...(mtu === undefined ? {} : { mtu }) }
  const endpoint = new VhostUserEndpoint({ path, server, deviceType: DeviceType.NETWORK, net })
  return {
    identity: { socket: { path, listens: server ? 'front-end' : 'back-end' } },
    reconnects: true,
    handsOverQueues: true,
    attach: async (options) => {
      try {
        return await endpoint.connect(options)
      } catch (error) {
        throw options.signal.aborted ? error : withRemedy(error, locator)
      }
    },
    release: () => endpoint.close(),
  }
}

/** What stands in the way, by the kernel's word for it, and what to do about it. */
function obstacle(errno: string | undefined, { path, server }: VhostUserLocator): readonly [why: string, fix: string] {
  const start = `start the back-end, or let netd listen there and the back-end connect: netd run vhost-user:${path},server`
  switch (errno) {
    case 'ENOENT':
      return server ? ['there is no such directory', 'another path'] : ['there is no such socket', start]
    case 'ECONNREFUSED':
      return ['it is not a socket that somebody listens on: a plain file, or what an ended program has left', start]
    case 'EACCES':
    case 'EPERM':
      return ['this user may not use it', 'sudo, or have the socket belong to a group of yours']
    default:
      return ['see the cause', start]
  }
}

const remedies: Readonly<Record<string, string>> = {
  'vhost-user.address-in-use': 'another path, or end the program that listens there',
  'vhost-user.timeout': 'is it a vhost-user back-end, and has it no other front-end already? its log may say',
  'vhost-user.disconnected': 'is it a vhost-user back-end, and has it no other front-end already? its log may say',
  'vhost-user.protocol': 'is it a vhost-user back-end? its log may say',
  'vhost-user.refused': 'see the log of the back-end',
}

/** The error with what a user of this program can do. */
function withRemedy(error: unknown, locator: VhostUserLocator): unknown {
  const code = codeOf(error)
  const errno = causesOf(error)
    .map(codeOf)
    .findLast((each) => each?.startsWith('E'))
  if (code === 'vhost-user.unreachable' || (errno !== undefined && code === errno)) {
    const [why, fix] = obstacle(errno, locator)
    const verb = locator.server ? 'cannot listen for a vhost-user back-end on' : 'no vhost-user back-end answers at'
    return new NetdError('vhost-user.unreachable', `${verb} ${locator.path}`, { why, fix, cause: error })
  }
  const fix = remedies[code ?? '']
  return code === undefined || fix === undefined
    ? error
    : new NetdError(code, (error as Error).message, { fix, cause: error })
}
