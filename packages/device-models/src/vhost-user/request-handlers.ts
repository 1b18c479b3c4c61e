import { SystemError } from '@virtio-ts/native'
import { VhostUser, VhostUserRequest as Request } from '@virtio-ts/spec'
import type { BackEndQueue } from './back-end-queue.ts'
import { encodeNumber, encodeRingState } from './encode-message.ts'
import { inFlightArea } from './in-flight-area.ts'
import type { RegionDescription } from './map-region.ts'
import type { ReceivedFds } from './received-fds.ts'
import { Refused } from './refused.ts'
import type { VhostUserDevice } from './vhost-user-device.ts'
import { VhostUserRules } from './vhost-user-rules.ts'

/** A request whose form has been checked: length of payload, number of descriptors. */
export interface CheckedRequest {
  readonly payload: Uint8Array
  readonly view: DataView
  readonly fds: ReceivedFds
}

/** A reply with a payload of its own. */
export interface Reply {
  readonly payload: Uint8Array
  /** Sent along and closed. */
  readonly fds?: readonly number[]
}

/** @returns the reply, where the request has one. @throws Refused when the request is not carried out */
export type RequestHandler = (device: VhostUserDevice, request: CheckedRequest) => Reply | void

const REGION_LENGTH = 32
const CONFIG_HEADER = 12
const LARGEST_SIZE = 32768

const number = (value: bigint | number): Reply => ({ payload: encodeNumber(BigInt(value)) })

/** What each request brings about. "Front-end message types" */
export const requestHandlers: ReadonlyMap<number, RequestHandler> = new Map<number, RequestHandler>([
  [Request.GET_FEATURES, (device) => number(device.readFeatures())],
  [Request.SET_FEATURES, (device, { view }) => device.setFeatures(view.getBigUint64(0, true))],
  [Request.SET_OWNER, () => undefined],
  // Deprecated; a back-end does best to ignore it.
  [Request.RESET_OWNER, () => undefined],
  [Request.GET_PROTOCOL_FEATURES, (device) => number(device.offeredProtocol ?? 0n)],
  [Request.SET_PROTOCOL_FEATURES, (device, { view }) => device.setProtocolFeatures(view.getBigUint64(0, true))],
  [Request.GET_QUEUE_NUM, (device) => number(device.queueCount)],
  [Request.SET_MEM_TABLE, setMemoryTable],
  [Request.GET_MAX_MEM_SLOTS, (device) => number(device.memorySlots)],
  [
    Request.ADD_MEM_REG,
    (device, { view, fds }) => device.changeMemory(() => device.table.add(regionAt(view, 8), fds.list[0] ?? -1)),
  ],
  [Request.REM_MEM_REG, (device, { view }) => device.changeMemory(() => device.table.remove(regionAt(view, 8)))],
  [Request.SET_VRING_NUM, setSize],
  [Request.SET_VRING_ADDR, setAddresses],
  [
    Request.SET_VRING_BASE,
    (device, { view }) => {
      const queue = stopped(device, view, 'SET_VRING_BASE')
      queue.base = view.getUint32(4, true)
      if (!device.packed && queue.base > 0xffff)
        device.violation(
          VhostUserRules.PAYLOAD,
          `queue ${queue.index}: base 0x${queue.base.toString(16)} has more than 16 bits`,
        )
    },
  ],
  [
    Request.GET_VRING_BASE,
    (device, { view }) => {
      const queue = queueOf(device, view.getUint32(0, true))
      return { payload: encodeRingState(queue.index, device.stop(queue)) }
    },
  ],
  [Request.SET_VRING_KICK, setNotifyFd],
  [
    Request.SET_VRING_CALL,
    (device, request) =>
      setFd(device, request, (queue, fd) => {
        queue.setUsedFd(fd)
        // The one before may have ended between using a buffer and saying so.
        if (device.inFlightKnown) queue.signalUsed()
      }),
  ],
  [Request.SET_VRING_ERR, (device, request) => setFd(device, request, (queue, fd) => queue.setErrorFd(fd))],
  [Request.SET_VRING_ENABLE, setEnable],
  [Request.VRING_KICK, (device, { view }) => device.notifyInBand(queueOf(device, view.getUint32(0, true)))],
  [Request.GET_CONFIG, getConfig],
  [Request.SET_CONFIG, setConfig],
  [
    Request.NET_SET_MTU,
    (device, { view }) => {
      const mtu = Number(view.getBigUint64(0, true))
      if (!device.core.model.onMtu?.(mtu)) throw new Refused(VhostUserRules.MESSAGES, `no MTU for this device: ${mtu}`)
    },
  ],
  [Request.SET_BACKEND_REQ_FD, (device, { fds }) => void fds.take((fd) => device.setChannel(fd))],
  [Request.GET_INFLIGHT_FD, getInFlightArea],
  [Request.SET_INFLIGHT_FD, setInFlightArea],
  [Request.RESET_DEVICE, (device) => device.resetDevice()],
  [Request.SET_STATUS, setStatus],
  [Request.GET_STATUS, (device) => number(device.core.readStatus())],
])

function queueOf(device: VhostUserDevice, index: number): BackEndQueue {
  const queue = device.queues[index]
  if (!queue)
    throw new Refused(VhostUserRules.MULTIPLE_QUEUES, `queue ${index} of a device with ${device.queues.length} queues`)
  return queue
}

/** A queue for something that may not change while its ring is in use. */
function stopped(device: VhostUserDevice, view: DataView, name: string): BackEndQueue {
  const queue = queueOf(device, view.getUint32(0, true))
  if (queue.started)
    throw new Refused(VhostUserRules.RING_STATES, `queue ${queue.index}: ${name} while its ring is started`)
  return queue
}

function regionAt(view: DataView, at: number): RegionDescription {
  const word = (n: number): bigint => view.getBigUint64(at + 8 * n, true)
  return { guestAddress: word(0), size: word(1), userAddress: word(2), mapOffset: word(3) }
}

function setMemoryTable(device: VhostUserDevice, { view, fds }: CheckedRequest): void {
  const count = view.getUint32(0, true)
  if (view.byteLength !== 8 + REGION_LENGTH * count)
    throw new Refused(VhostUserRules.PAYLOAD, `SET_MEM_TABLE: ${count} regions in ${view.byteLength} bytes`)
  const files = fds.list
  if (files.length !== count)
    throw new Refused(VhostUserRules.MESSAGES, `SET_MEM_TABLE: ${count} regions and ${files.length} descriptors`)
  const regions = Array.from({ length: count }, (_, n) => regionAt(view, 8 + REGION_LENGTH * n))
  device.changeMemory(() => device.table.set(regions, files))
}

function setSize(device: VhostUserDevice, { view }: CheckedRequest): void {
  const queue = stopped(device, view, 'SET_VRING_NUM')
  const size = view.getUint32(4, true)
  const possible = size >= 1 && size <= LARGEST_SIZE && (device.packed || (size & (size - 1)) === 0)
  if (!possible) throw new Refused(VhostUserRules.MESSAGES, `queue ${queue.index}: no ring has a size of ${size}`)
  queue.size = size
}

function setAddresses(device: VhostUserDevice, { view }: CheckedRequest): void {
  const queue = queueOf(device, view.getUint32(0, true))
  const [descriptorArea, deviceArea, driverArea] = [8, 16, 24].map((at) => view.getBigUint64(at, true)) as [
    bigint,
    bigint,
    bigint,
  ]
  const addresses = { descriptorArea, driverArea, deviceArea }
  if (view.getUint32(4, true) !== 0)
    device.violation(
      VhostUserRules.PAYLOAD,
      `queue ${queue.index}: flags of SET_VRING_ADDR for logging, which was not agreed on`,
    )
  for (const [part, address] of Object.entries(addresses))
    if (device.table.toDeviceAddress(address) === undefined)
      throw new Refused(
        VhostUserRules.MEMORY,
        `queue ${queue.index}: ${part} at user address 0x${address.toString(16)} is in no memory region`,
      )
  device.setAddresses(queue, addresses)
}

/** The queue a descriptor is for, and whether there is none. */
function ringOfFd(device: VhostUserDevice, { view, fds }: CheckedRequest): { queue: BackEndQueue; without: boolean } {
  const value = view.getBigUint64(0, true)
  if (value >= 0x200n) device.violation(VhostUserRules.PAYLOAD, `a queue index of 0x${value.toString(16)}, above bit 8`)
  const without = (value & BigInt(VhostUser.VRING_NO_FD)) !== 0n
  if (without === fds.list.length > 0)
    throw new Refused(
      VhostUserRules.MESSAGES,
      without ? 'a descriptor, and the flag that there is none' : 'no descriptor',
    )
  return { queue: queueOf(device, Number(value & BigInt(VhostUser.VRING_INDEX_MASK))), without }
}

function setFd(
  device: VhostUserDevice,
  request: CheckedRequest,
  use: (queue: BackEndQueue, fd: number | undefined) => void,
): void {
  const { queue, without } = ringOfFd(device, request)
  try {
    if (without) use(queue, undefined)
    else request.fds.take((fd) => use(queue, fd))
  } catch (error) {
    if (!(error instanceof SystemError)) throw error
    throw new Refused(
      VhostUserRules.MESSAGES,
      `queue ${queue.index}: a descriptor that cannot be used: ${error.message}`,
    )
  }
}

function setNotifyFd(device: VhostUserDevice, request: CheckedRequest): void {
  const { queue } = ringOfFd(device, request)
  device.judgeReady(queue)
  setFd(device, request, (target, fd) => {
    target.setNotifyFd(fd)
    device.goOn(target)
  })
}

function setEnable(device: VhostUserDevice, { view }: CheckedRequest): void {
  const queue = queueOf(device, view.getUint32(0, true))
  const value = view.getUint32(4, true)
  if (value > 1) throw new Refused(VhostUserRules.PAYLOAD, `queue ${queue.index}: SET_VRING_ENABLE with ${value}`)
  if (!device.switchesRings)
    device.violation(
      VhostUserRules.RING_STATES,
      `queue ${queue.index}: SET_VRING_ENABLE without bit 30 of the features`,
    )
  device.enable(queue, value === 1)
}

/** An answer without payload tells a failure. */
function getConfig(device: VhostUserDevice, { payload, view }: CheckedRequest): Reply {
  const { config } = device.core.model
  const [offset, size] = [view.getUint32(0, true), view.getUint32(4, true)]
  const fits = size <= VhostUser.MAX_CONFIG_LENGTH && offset + size <= VhostUser.MAX_CONFIG_LENGTH
  if (payload.length !== CONFIG_HEADER + size)
    device.violation(VhostUserRules.PAYLOAD, `GET_CONFIG of ${size} bytes with a payload of ${payload.length}`)
  if (!fits || offset >= config.length) {
    device.violation(VhostUserRules.MESSAGES, `GET_CONFIG of ${size} bytes at ${offset}, of ${config.length} there are`)
    return { payload: new Uint8Array(0) }
  }
  // Front-ends ask for the whole of the structure they know: what this device does not have of it is 0.
  const answer = new Uint8Array(CONFIG_HEADER + size)
  answer.set(payload.subarray(0, CONFIG_HEADER))
  answer.set(config.subarray(offset, offset + size), CONFIG_HEADER)
  return { payload: answer }
}

function setConfig(device: VhostUserDevice, { payload, view }: CheckedRequest): void {
  const [offset, size, flags] = [view.getUint32(0, true), view.getUint32(4, true), view.getUint32(8, true)]
  if (payload.length !== CONFIG_HEADER + size)
    throw new Refused(VhostUserRules.PAYLOAD, `SET_CONFIG of ${size} bytes with a payload of ${payload.length}`)
  const { model } = device.core
  if (
    flags > 1 ||
    offset + size > model.config.length ||
    !model.onConfigWrite?.(offset, payload.slice(CONFIG_HEADER), false)
  )
    throw new Refused(
      VhostUserRules.MESSAGES,
      `SET_CONFIG of ${size} bytes at ${offset}, which are not the driver's to write`,
    )
}

function inFlightAt(view: DataView): { size: bigint; offset: bigint; queues: number; queueSize: number } {
  return {
    size: view.getBigUint64(0, true),
    offset: view.getBigUint64(8, true),
    queues: view.getUint16(16, true),
    queueSize: view.getUint16(18, true),
  }
}

function checkInFlight(device: VhostUserDevice, queues: number, queueSize: number): void {
  if (queues < 1 || queues > device.queues.length || queueSize < 1 || queueSize > LARGEST_SIZE)
    throw new Refused(
      VhostUserRules.IN_FLIGHT,
      `an area for ${queues} queues of ${queueSize}, of ${device.queues.length} queues`,
    )
}

function getInFlightArea(device: VhostUserDevice, { payload, view }: CheckedRequest): Reply {
  const { queues, queueSize } = inFlightAt(view)
  checkInFlight(device, queues, queueSize)
  const { fd, description } = inFlightArea.create(queues, queueSize, device.packed)
  const answer = payload.slice()
  const out = new DataView(answer.buffer)
  out.setBigUint64(0, description.size, true)
  out.setBigUint64(8, description.offset, true)
  return { payload: answer, fds: [fd] }
}

function setInFlightArea(device: VhostUserDevice, { view, fds }: CheckedRequest): void {
  const description = inFlightAt(view)
  checkInFlight(device, description.queues, description.queueSize)
  inFlightArea.check(description, fds.list[0] ?? -1, device.packed)
  device.inFlightKnown = true
}

function setStatus(device: VhostUserDevice, { view }: CheckedRequest): void {
  const status = view.getBigUint64(0, true)
  if (status > 0xffn) throw new Refused(VhostUserRules.PAYLOAD, `a device status of 0x${status.toString(16)}`)
  device.setStatus(Number(status))
}
