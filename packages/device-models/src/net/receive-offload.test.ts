import { describe, expect, it } from 'vitest'
import { checksum, DRIVER_MAC, ethernet, ipv4, PEER_MAC, pseudo, udp, be16 } from '../../test-support/frames.ts'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { NetPeer } from '../peer/net-peer.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { NetModel } from './net-model.ts'

const bit = (...bits: number[]): bigint => bits.reduce((set, n) => set | (1n << BigInt(n)), 0n)
const A = [10, 0, 0, 2]
const B = [10, 0, 0, 1]

function setUp(features: bigint) {
  const model = new NetModel()
  const fn = modelFunction(model)
  const driver = new HandDriver(fn)
  const [receive, transmit, control] = driver.start(bit(5, 32) | features, 3, 16)
  if (!receive || !transmit || !control) throw new Error('no queues')
  const buffers = Array.from({ length: 8 }, (_, n) => {
    const region = driver.buffer(4096)
    receive.descriptor(n, region.deviceAddress, 4096, 2)
    return region.bytes
  })
  receive.offer(...buffers.keys())
  const received = () =>
    receive.takeUsed().map(({ id, len }) => ({
      header: [...(buffers[id] ?? []).slice(0, 10)],
      frame: (buffers[id] ?? new Uint8Array()).slice(12, len),
    }))
  return { model, driver, transmit, control, received }
}

const partial = ethernet(DRIVER_MAC, PEER_MAC, 0x800, ipv4(17, B, A, udp(B, A, 7, 9, [1, 2, 3], true)))
const whole = ethernet(DRIVER_MAC, PEER_MAC, 0x800, ipv4(17, B, A, udp(B, A, 7, 9, [1, 2, 3])))
const offload = { flags: 1, csumStart: 34, csumOffset: 6 }

function largeTcp(): Uint8Array {
  const payload = Array.from({ length: 2000 }, (_, n) => n & 0xff)
  const sum = be16(0xffff - checksum(pseudo(6, B, A, 2020)))
  return ethernet(
    DRIVER_MAC,
    PEER_MAC,
    0x800,
    ipv4(6, B, A, [0, 80, 3, 232, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, ...sum, 0, 0, ...payload]),
  )
}

describe('receive offloads', () => {
  it('§ 5.1.6.4.1 leaves the checksum to a driver with GUEST_CSUM, and completes it for one without', () => {
    const takes = setUp(bit(1))
    takes.model.deliver(partial, offload)
    expect(takes.received()).toEqual([{ header: [1, 0, 0, 0, 0, 0, 34, 0, 6, 0], frame: partial }])
    const without = setUp(0n)
    without.model.deliver(partial, offload)
    without.model.deliver(whole, { flags: 2 })
    without.model.deliver(partial, { flags: 1, csumStart: 60000, csumOffset: 0 })
    expect(without.received()).toEqual([
      { header: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0], frame: whole },
      { header: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0], frame: whole },
    ])
    expect(without.model.counters.droppedInvalid).toBe(1)
  })

  it('§ 5.1.6.4.1 leaves segmentation to a driver with GUEST_TSO4, and does it for one without', () => {
    const header = { flags: 1, gsoType: 1, gsoSize: 1460, hdrLen: 54, csumStart: 34, csumOffset: 16 }
    const takes = setUp(bit(1, 7))
    takes.model.deliver(largeTcp(), header)
    expect(takes.received()).toEqual([{ header: [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0], frame: largeTcp() }])
    const without = setUp(bit(1, 8))
    without.model.deliver(largeTcp(), header)
    expect(without.received().map(({ header: [flags, kind], frame }) => [flags, kind, frame.length])).toEqual([
      [0, 0, 1514],
      [0, 0, 594],
    ])
    const ecn = setUp(bit(1, 7))
    ecn.model.deliver(largeTcp(), { ...header, gsoType: 0x81 })
    expect(ecn.received()).toHaveLength(2)
  })

  it('§ 5.1.6.5.8.1 does what the driver switched off with a command', () => {
    const { model, driver, control, received } = setUp(bit(1, 2, 7, 17))
    const region = driver.buffer(16, Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0, 0, 0))
    control.chain(0, [
      [region.deviceAddress, 10, false],
      [region.deviceAddress + 10, 1, true],
    ])
    control.offer(0)
    driver.notify(2)
    model.deliver(partial, offload)
    expect(received()).toEqual([{ header: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0], frame: whole }])
  })
})

describe('a device, a driver and a peer', () => {
  it('make a round trip inside one notification', () => {
    const { model, driver, transmit, received } = setUp(bit(0, 1))
    const peer = new NetPeer({ partialChecksums: true })
    peer.attach(model)
    const out = ethernet(PEER_MAC, DRIVER_MAC, 0x800, ipv4(17, A, B, udp(A, B, 9, 7, [1, 2, 3], true)))
    const region = driver.buffer(12 + out.length, Uint8Array.from([1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0, ...out]))
    transmit.descriptor(0, region.deviceAddress, 12 + out.length, 0)
    transmit.offer(0)
    driver.notify(1)
    const [answer] = received()
    expect(answer?.header).toEqual([1, 0, 0, 0, 0, 0, 34, 0, 6, 0])
    expect([...(answer?.frame ?? [])].slice(34)).toEqual(udp(B, A, 7, 9, [1, 2, 3], true))
    expect(peer.counters.udpEchoes).toBe(1)
  })
})
