import { Errno } from './errno.ts'
import { close } from './file-descriptor.ts'
import { errno, libc, pointerTo } from './libc.ts'
import { SystemError } from './system-error.ts'

// linux/socket.h
const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const SCM_MAX_FD = 253
const MSG_CTRUNC = 0x8
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x4000_0000

// struct msghdr on 64-bit Linux: name 0, namelen 8, iov 16, iovlen 24, control 32, controllen 40, flags 48
const IOV_OFFSET = 16
const IOV_COUNT_OFFSET = 24
const CONTROL_OFFSET = 32
const CONTROL_LENGTH_OFFSET = 40
const FLAGS_OFFSET = 48
const MESSAGE_LENGTH = 56
// struct iovec: base 0, length 8
const IOVEC_LENGTH = 16
// struct cmsghdr: len 0 (8 bytes), level 8, type 12, then the data; the next one begins at a multiple of 8
const CMSG_LEVEL_OFFSET = 8
const CMSG_TYPE_OFFSET = 12
const CMSG_DATA_OFFSET = 16

/**
 * The structures of sendmsg and recvmsg, one set for every call: calls are synchronous, so no two are under way. They point
 * at each other by address, and an array over an ArrayBuffer stays where it is for as long as it is referenced.
 */
const header = new DataView(new ArrayBuffer(MESSAGE_LENGTH))
const headerBytes = new Uint8Array(header.buffer)
const vector = new DataView(new ArrayBuffer(IOVEC_LENGTH))
const control = new DataView(new ArrayBuffer(controlSpace(SCM_MAX_FD)))
/** The caller's bytes while the kernel has their address: a reference that outlives the call. */
const lent: { bytes: Uint8Array | undefined } = { bytes: undefined }

function describe(bytes: Uint8Array, controlLength: number): void {
  lent.bytes = bytes
  setWord(vector, 0, pointerTo(bytes))
  setWord(vector, 8, bytes.length)
  headerBytes.fill(0)
  setWord(header, IOV_OFFSET, pointerTo(new Uint8Array(vector.buffer)))
  setWord(header, IOV_COUNT_OFFSET, 1)
  setWord(header, CONTROL_OFFSET, pointerTo(new Uint8Array(control.buffer)))
  setWord(header, CONTROL_LENGTH_OFFSET, controlLength)
}

/**
 * Sends bytes on a Unix socket together with descriptors, which the receiver gets copies of.
 *
 * @param bytes at least 1 when there are descriptors: they travel with a byte
 * @param fds at most 253; they stay open here
 * @returns bytes sent (the descriptors went with them), or the error number negated
 */
export function sendWithFds(fd: number, bytes: Uint8Array, fds: readonly number[]): number {
  if (fds.length > SCM_MAX_FD)
    throw new RangeError(`${fds.length} descriptors in one message: ${SCM_MAX_FD} are possible`)
  if (fds.length > 0 && bytes.length === 0) throw new RangeError('descriptors need at least one byte to travel with')
  describe(bytes, fds.length === 0 ? 0 : controlSpace(fds.length))
  setWord(control, 0, CMSG_DATA_OFFSET + 4 * fds.length)
  control.setInt32(CMSG_LEVEL_OFFSET, SOL_SOCKET, true)
  control.setInt32(CMSG_TYPE_OFFSET, SCM_RIGHTS, true)
  for (const [i, passed] of fds.entries()) control.setInt32(CMSG_DATA_OFFSET + 4 * i, passed, true)
  const count = libc.sendmsg(fd, headerBytes, MSG_NOSIGNAL)
  const error = count < 0 ? errno() : 0
  lent.bytes = undefined
  return error === 0 ? count : -error
}

/**
 * Receives bytes from a Unix socket and the descriptors that came with them, which are the caller's to close and are not
 * inherited by child processes.
 *
 * @returns undefined when there is nothing yet; no bytes at the end of the stream
 * @throws SystemError `EMSGSIZE` when more than `maxFds` descriptors came: none is left open, the bytes are lost
 */
export function receiveWithFds(
  fd: number,
  maxBytes: number,
  maxFds: number,
): { bytes: Uint8Array; fds: number[] } | undefined {
  const bytes = new Uint8Array(maxBytes)
  // Room for every descriptor a message can carry: with less the kernel rounds up and lets one more in than was wanted.
  describe(bytes, control.byteLength)
  const count = libc.recvmsg(fd, headerBytes, MSG_CMSG_CLOEXEC)
  const error = count < 0 ? errno() : 0
  lent.bytes = undefined
  if (error === Errno.EAGAIN) return undefined
  if (error !== 0) throw new SystemError('recvmsg', error, `descriptor ${fd}`)
  const fds = receivedFds(header.getUint32(CONTROL_LENGTH_OFFSET, true))
  if (fds.length > maxFds || (header.getInt32(FLAGS_OFFSET, true) & MSG_CTRUNC) !== 0) {
    for (const received of fds) close(received)
    throw new SystemError('recvmsg', Errno.EMSGSIZE, `with ${fds.length} descriptors where ${maxFds} were expected`)
  }
  return { bytes: bytes.subarray(0, count), fds }
}

/** @param length how much of `control` the kernel filled; other kinds of control message are passed over */
function receivedFds(length: number): number[] {
  const fds: number[] = []
  let at = 0
  while (at + CMSG_DATA_OFFSET <= length) {
    const end = at + control.getUint32(at, true)
    if (
      control.getInt32(at + CMSG_LEVEL_OFFSET, true) === SOL_SOCKET &&
      control.getInt32(at + CMSG_TYPE_OFFSET, true) === SCM_RIGHTS
    ) {
      for (let item = at + CMSG_DATA_OFFSET; item + 4 <= end; item += 4) fds.push(control.getInt32(item, true))
    }
    at = (end + 7) & ~7
  }
  return fds
}

/** A 64-bit number below 2^53. */
function setWord(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value, true)
  view.setUint32(offset + 4, value / 0x1_0000_0000, true)
}

/** Bytes of control message for so many descriptors. */
function controlSpace(fds: number): number {
  return CMSG_DATA_OFFSET + ((4 * fds + 7) & ~7)
}
