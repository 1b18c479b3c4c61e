import type { NetDriver, ReceivedPacket } from '@virtio-ts/driver-net'

export interface TrafficOptions {
  /** Number of the first frame; numbers go on from there. */
  readonly first: number
  readonly count: number
  /** Frames that are out at most: with fewer than the receive queue has buffers nothing need get lost. */
  readonly window?: number
  /** Milliseconds without a frame coming back until the rest counts as lost. */
  readonly patience?: number
}

const HEADER = 14
const ETHERTYPE = 0x88b5
const lengths = [60, 64, 128, 590, 1000, 1514]

/** A frame that says its number, with content that follows from it. */
export function numberedFrame(mac: Uint8Array, number: number): Uint8Array {
  const frame = new Uint8Array(lengths[number % lengths.length] as number)
  frame.set([0x02, 0, 0, 0, 0, 0x77])
  frame.set(mac, 6)
  const view = new DataView(frame.buffer)
  view.setUint16(12, ETHERTYPE)
  view.setUint32(HEADER, number)
  for (let i = HEADER + 4; i < frame.length; i++) frame[i] = (number * 7 + i) & 0xff
  return frame
}

/** The number of a frame that came back whole; -1 for a damaged one. */
export function numberOf(frame: Uint8Array): number {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  const number = view.getUint32(HEADER)
  if (frame.length !== lengths[number % lengths.length]) return -1
  for (let i = HEADER + 4; i < frame.length; i++) if (frame[i] !== ((number * 7 + i) & 0xff)) return -1
  return number
}

/** Sends numbered frames to a peer that sends everything back, polling. @returns the numbers in the order they came back */
export async function exchange(driver: NetDriver, options: TrafficOptions): Promise<number[]> {
  const { first, count, window = 200, patience = 2000 } = options
  const returned: number[] = []
  const take = (packet: ReceivedPacket): void => void returned.push(numberOf(packet.toFrame()))
  let sent = 0
  let last = performance.now()
  while (returned.length < count && performance.now() - last < patience) {
    while (sent < count && sent - returned.length < window && driver.send(numberedFrame(driver.mac, first + sent)))
      sent++
    driver.poll()
    if (driver.receive(take, 64) > 0) last = performance.now()
    else await new Promise((resolve) => setImmediate(resolve))
  }
  return returned
}

/** The same by notifications: nobody looks unless told to. @returns the numbers in the order they came back */
export async function exchangeNotified(driver: NetDriver, options: TrafficOptions): Promise<number[]> {
  const { first, count, window = 200, patience = 2000 } = options
  const returned: number[] = []
  let sent = 0
  await new Promise<void>((resolve) => {
    const lost = setTimeout(resolve, patience)
    const send = (): void => {
      while (sent < count && sent - returned.length < window && driver.send(numberedFrame(driver.mac, first + sent)))
        sent++
    }
    const receive = (): void => {
      do while (driver.receive((packet) => void returned.push(numberOf(packet.toFrame())), 64) > 0) lost.refresh()
      while (driver.armReceive())
      if (returned.length < count) return send()
      clearTimeout(lost)
      resolve()
    }
    driver.onTransmitSpace(send)
    driver.onReceive(receive)
    send()
  })
  return returned
}

export function numbers(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i)
}
