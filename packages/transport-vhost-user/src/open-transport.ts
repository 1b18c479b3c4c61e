import { DeviceType, type DeviceTypeId } from '@virtio-ts/spec'
import { BackEndConfig } from './back-end-config.ts'
import { type DevicePart, PlainPart } from './device-part.ts'
import { NetPart, type NetPartOptions } from './net-part.ts'
import { Session, type SessionOptions } from './session.ts'
import { VhostUserTransport } from './vhost-user-transport.ts'

export interface TransportOptions extends SessionOptions {
  readonly deviceType: DeviceTypeId
  readonly net: Omit<NetPartOptions, 'usePairs'>
}

/** Makes a transport of a connected socket. @param fd belongs to the transport, and is closed when there will be none */
export async function openTransport(fd: number, options: TransportOptions): Promise<VhostUserTransport> {
  const session = await Session.open(fd, options)
  try {
    // The part needs the transport for one command, and the transport needs the part.
    const usePairs = (pairs: number): Promise<boolean> => transport.usePairs(pairs)
    const part = await choosePart(session, options, usePairs)
    const transport: VhostUserTransport = new VhostUserTransport(session, part, options.deviceType)
    return transport
  } catch (error) {
    session.end()
    throw error
  }
}

async function choosePart(
  { frontEnd }: Session,
  { deviceType, net }: TransportOptions,
  usePairs: NetPartOptions['usePairs'],
): Promise<DevicePart> {
  const queues = frontEnd.has('MQ') ? await frontEnd.queueCount() : undefined
  const config = frontEnd.has('CONFIG') ? await BackEndConfig.open(frontEnd) : undefined
  if (deviceType === DeviceType.NETWORK) return NetPart.open(frontEnd, { ...net, usePairs }, config, queues)
  return new PlainPart(frontEnd.features, config, queues)
}
