import { CommandError, causesOf, codeOf } from '@virtio-ts/command-line'
import { VhostUserEndpoint } from '@virtio-ts/transport-vhost-user'
import type { DeviceKind } from './device-kind.ts'
import type { VhostUserLocator } from './locator.ts'
import type { OpenedDevice } from './opened-device.ts'

/** The device of a vhost-user back-end. Nobody has connected to it yet. */
export function openVhostUser({ deviceType, vhostUser }: DeviceKind, locator: VhostUserLocator): OpenedDevice {
  const { path, server } = locator
  const endpoint = new VhostUserEndpoint({ ...vhostUser, path, server, deviceType })
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
  const start = `start the back-end, or listen there and let the back-end connect: vhost-user:${path},server`
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
    return new CommandError('vhost-user.unreachable', `${verb} ${locator.path}`, { why, fix, cause: error })
  }
  const fix = remedies[code ?? '']
  return code === undefined || fix === undefined
    ? error
    : new CommandError(code, (error as Error).message, { fix, cause: error })
}
