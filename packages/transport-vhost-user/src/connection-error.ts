import { VirtioError } from '@virtio-ts/spec'

/** Nobody answers at the socket. */
export function unreachableError(path: string, cause: unknown): VirtioError {
  return new VirtioError(
    'vhost-user.unreachable',
    `${path}: no vhost-user back-end to connect to (${messageOf(cause)}); start it, or check the path and who may use it`,
    { device: path, cause },
  )
}

/** The back-end said something that the protocol does not let it say. */
export function protocolError(
  path: string,
  text: string,
  detail: Readonly<Record<string, number | string>> = {},
): VirtioError {
  return new VirtioError(
    'vhost-user.protocol',
    `${path}: the back-end breaks the vhost-user protocol: ${text}; the connection is closed`,
    { device: path, detail },
  )
}

/** The socket ended. */
export function disconnectedError(path: string, cause?: unknown): VirtioError {
  return new VirtioError(
    'vhost-user.disconnected',
    `${path}: the back-end closed the connection${cause === undefined ? '' : ` (${messageOf(cause)})`}; see what became of it, and connect again`,
    { device: path, cause },
  )
}

/** A request was not taken or not answered in time. */
export function timeoutError(path: string, request: string, timeout: number): VirtioError {
  return new VirtioError(
    'vhost-user.timeout',
    `${path}: the back-end did not answer ${request} within ${timeout} ms; the connection is closed, as nobody can tell later answers apart`,
    { device: path, detail: { request } },
  )
}

/** The answer to a request was no. */
export function refusedError(path: string, request: string, detail: number): VirtioError {
  return new VirtioError(
    'vhost-user.refused',
    `${path}: the back-end refused ${request} (it answered ${detail}); its log may say why`,
    { device: path, detail: { request, answer: detail } },
  )
}

/** What everything on a connection that ended rejects with. */
export function goneError(path: string, cause: Error): VirtioError {
  return new VirtioError('device.gone', cause.message, { device: path, cause })
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
