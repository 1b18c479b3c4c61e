import { constants } from 'node:fs'
import { close, ioctl, open, SystemError } from '@virtio-ts/native'
import { TunFlag, TunRequest } from './if-tun.ts'
import { InterfaceRequest } from './interface-request.ts'
import { explained, TapError, type TapErrorMeanings } from './tap-error.ts'
import { holderOf } from './tap-holder.ts'

export interface AttachOptions {
  /** The device file. */
  readonly path: string
  /** May be empty, or hold `%d`: the kernel chooses. */
  readonly name: string
  readonly vnetHeader: boolean
  readonly multiQueue: boolean
}

/**
 * Opens the device file and attaches it to an interface, which is made if there is none.
 *
 * @returns a non-blocking descriptor
 * @throws TapError
 */
export function attachTap(options: AttachOptions): number {
  const fd = openDevice(options.path)
  try {
    const request = new InterfaceRequest(options.name)
    request.value.setUint16(
      0,
      TunFlag.TAP |
        TunFlag.NO_PI |
        (options.vnetHeader ? TunFlag.VNET_HDR : 0) |
        (options.multiQueue ? TunFlag.MULTI_QUEUE : 0),
      true,
    )
    explained(
      describe(options.name),
      'attach to',
      () => ioctl(fd, TunRequest.SETIFF, request.bytes),
      attachMeanings(options),
    )
    return fd
  } catch (error) {
    close(fd)
    throw error instanceof TapError && error.code === 'tap.busy' ? busyError(options.name, error) : error
  }
}

export function busyError(name: string, cause?: unknown): TapError {
  const holder = holderOf(name) ?? 'another process, which /proc does not show us,'
  return new TapError(
    'tap.busy',
    `${name} is in use: ${holder} has it open. End that, or choose another name.`,
    cause === undefined ? undefined : { cause },
  )
}

function openDevice(path: string): number {
  try {
    return open(path, constants.O_RDWR | constants.O_NONBLOCK)
  } catch (cause) {
    if (!(cause instanceof SystemError)) throw cause
    switch (cause.code) {
      case 'ENOENT':
      case 'ENOTDIR':
        throw new TapError(
          'tap.no-device-node',
          `${path} does not exist. Load the driver (\`modprobe tun\`); in a container start it with \`--device /dev/net/tun\`, ` +
            'or make the node: `mkdir -p /dev/net && mknod /dev/net/tun c 10 200`.',
          { cause },
        )
      case 'ENODEV':
      case 'ENXIO':
        throw new TapError('tap.no-device-node', `${path} has no driver behind it: load it with \`modprobe tun\`.`, {
          cause,
        })
      case 'EACCES':
      case 'EPERM':
        throw new TapError(
          'tap.permission',
          `may not open ${path}: give this user access to it (mode 0666 is usual: the driver asks for CAP_NET_ADMIN itself), or run as root.`,
          { cause },
        )
      default:
        throw new TapError('tap.failed', `cannot open ${path}: ${cause.message}`, { cause })
    }
  }
}

function attachMeanings({ path, name, multiQueue }: AttachOptions): TapErrorMeanings {
  const shown = describe(name)
  return {
    EBUSY: ['tap.busy', `${shown} is in use`],
    EINVAL: [
      'tap.mismatch',
      `${shown} exists and cannot be used: it is not a TAP, or one made ${multiQueue ? 'without' : 'with'} multi_queue. ` +
        `Choose another name, or another number of queues, or delete it (\`ip link del ${name}\`).`,
    ],
    E2BIG: [
      'tap.mismatch',
      `${shown} has no queue left: the kernel has 256 for an interface, and others may have some of them.`,
    ],
    ENOTTY: [
      'tap.no-device-node',
      `${path} is not the TUN/TAP device: that is a character device with the numbers 10, 200.`,
    ],
    EPERM: [
      'tap.permission',
      `may not make or use ${shown}: that needs CAP_NET_ADMIN in this network namespace. Run as root, give the program the ` +
        'capability, or let root make an interface for this user: `ip tuntap add dev NAME mode tap user USER vnet_hdr`.',
    ],
  }
}

function describe(name: string): string {
  return name === '' ? 'a new interface' : name
}
