import { formatMac, NetHeaderFields, type NetOptions, packetHash, type ReceivedPacket } from '@virtio-ts/driver-net'
import { NetHashReport, NetHeader } from '@virtio-ts/spec'
import { afterEach, describe, expect, it } from 'vitest'
import { turn, until } from './eventually.ts'
import type { NetBench, NetSuiteOptions } from './net-bench.ts'
import { netPairsSuite } from './net-pairs-suite.ts'
import { isSound, numbered, PEER, same, segmented } from './net-suite-frames.ts'

const BUDGET = 64

/**
 * A network driver on a device: frames in both directions, and everything the control queue and the configuration space are for; by
 * notifications and polled, where both have to come to the same.
 */
export function netSuite(name: string, options: NetSuiteOptions): void {
  netPairsSuite(name, options)
  for (const polled of [false, true]) {
    describe(`${name}: network device, ${polled ? 'polled' : 'notified'}`, () => {
      const benches: NetBench[] = []
      const received: Uint8Array[] = []
      const take = (packet: ReceivedPacket): void => void received.push(packet.toFrame())

      async function open(more: NetOptions = {}): Promise<NetBench> {
        const bench = await options.open({ ...more, ...(polled && { interrupts: 'none' }) })
        benches.push(bench)
        const { driver } = bench
        received.length = 0
        if (!polled) {
          driver.onReceive(() => {
            do while (driver.receive(take, BUDGET) > 0);
            while (driver.armReceive())
          })
        }
        return bench
      }

      async function close(bench: NetBench): Promise<void> {
        benches.splice(benches.indexOf(bench), 1)
        await bench.driver.close()
        expect(bench.violations?.() ?? []).toEqual([])
        expect(bench.allocatedBytes?.() ?? 0).toBe(0)
        await bench.dispose?.()
      }

      const arrived = (bench: NetBench, count: number): Promise<void> =>
        until(bench.driver, polled, `${received.length} of ${count} frames received`, () => {
          if (polled) bench.driver.receive(take, BUDGET)
          return received.length >= count
        })

      /** Frames sent, in order, however long that takes. */
      async function sendAll(bench: NetBench, frames: readonly Uint8Array[]): Promise<readonly Uint8Array[]> {
        const { driver } = bench
        let space = (): void => {}
        driver.onTransmitSpace(() => space())
        for (const frame of frames) {
          let slot = driver.reserve(frame.length)
          while (slot < 0) {
            driver.publish()
            slot = driver.reserve(frame.length)
            if (slot >= 0) break
            if (polled) {
              driver.poll()
              await turn()
            } else await new Promise<void>((resolve) => (space = resolve))
            slot = driver.reserve(frame.length)
          }
          driver.bytes.set(frame, driver.frameOffset(slot))
          expect(driver.commit(slot, frame.length)).toBe(true)
        }
        driver.publish()
        const seen: Uint8Array[] = []
        await until(driver, polled, 'frames sent do not come out', () => seen.push(...bench.sent()) >= frames.length)
        return seen
      }

      async function roundTrip(bench: NetBench): Promise<void> {
        const out = numbered(bench.driver, false, 1, 100)
        expect(same(await sendAll(bench, [out]), [out])).toBe(true)
        const before = received.length
        const back = numbered(bench.driver, true, 2, 200)
        bench.deliver(back)
        await arrived(bench, before + 1)
        expect(received.at(-1)).toEqual(back)
      }

      afterEach(async () => {
        for (const bench of [...benches]) await close(bench)
      })

      it('has an address, an MTU and a link', async () => {
        const { driver } = await open()
        expect(driver.mac.length).toBe(6)
        expect((driver.mac[0] ?? 1) & 1).toBe(0)
        expect(driver.mtu).toBeGreaterThanOrEqual(68)
        expect(driver.link.up).toBe(true)
        if (options.headerLength) expect(driver.headerLength).toBe(options.headerLength)
        expect(driver.describe().interrupts === 'none').toBe(polled)
      })

      it('receives frames as they were sent, of every length', async () => {
        const bench = await open()
        const lengths = [60, 61, 64, 128, 590, 1000, 1513, 1514]
        const frames = lengths.map((length, i) => numbered(bench.driver, true, i, length))
        for (const frame of frames) bench.deliver(frame)
        await arrived(bench, frames.length)
        expect(same(received, frames)).toBe(true)
        expect(bench.driver.stats()).toMatchObject({ rx_packets: frames.length, rx_dropped: 0 })
      })

      it('transmits frames as they are, of every length', async () => {
        const bench = await open()
        const frames = [60, 61, 64, 128, 590, 1000, 1513, 1514].map((length, i) =>
          numbered(bench.driver, false, i, length),
        )
        expect(same(await sendAll(bench, frames), frames)).toBe(true)
        expect(bench.driver.stats()).toMatchObject({ tx_packets: frames.length, tx_dropped: 0 })
      })

      it('does both often enough for every ring to go around several times, and loses nothing', async () => {
        const bench = await open({ queueSize: 64 })
        const burst = Math.min(options.burst ?? 100, 60)
        let number = 0
        for (let round = 0; round < 10; round++) {
          const out = Array.from({ length: burst }, () => numbered(bench.driver, false, number++, 60 + (number % 1400)))
          const back = Array.from({ length: burst }, () => numbered(bench.driver, true, number++, 60 + (number % 1400)))
          received.length = 0
          for (const frame of back.slice(0, burst / 2)) bench.deliver(frame)
          const seen = await sendAll(bench, out)
          for (const frame of back.slice(burst / 2)) bench.deliver(frame)
          await arrived(bench, burst)
          expect(same(seen, out)).toBe(true)
          expect(same(received, back)).toBe(true)
        }
      })

      it('waits for space when the transmit queue is full, and loses nothing', async () => {
        const bench = await open({ queueSize: 16, transmitBuffers: 4 })
        const frames = Array.from({ length: 300 }, (_, i) => numbered(bench.driver, false, i, 300))
        expect(same(await sendAll(bench, frames), frames)).toBe(true)
      })

      it('takes a burst in portions', async () => {
        const bench = await options.open({ interrupts: 'none' })
        benches.push(bench)
        const count = Math.min(options.burst ?? 100, 40)
        for (let i = 0; i < count; i++) bench.deliver(numbered(bench.driver, true, i, 100))
        received.length = 0
        await until(bench.driver, true, 'the burst does not arrive', () => {
          const before = received.length
          const taken = bench.driver.receive(take, 7)
          expect(taken).toBeLessThanOrEqual(7)
          expect(received.length).toBe(before + taken)
          return received.length === count
        })
        expect(bench.driver.receive(take, 7)).toBe(0)
      })

      it('drains what it transmits', async () => {
        const bench = await open()
        for (let i = 0; i < 20; i++) bench.driver.send(numbered(bench.driver, false, i, 100))
        expect(await bench.driver.drain()).toBe(0)
        expect(bench.driver.stats()).toMatchObject({ tx_completed: 20, tx_in_flight: 0 })
        bench.sent()
      })

      it('yields frames to whoever iterates, until told to stop', async () => {
        const bench = await options.open(polled ? { interrupts: 'none' } : {})
        benches.push(bench)
        const stop = new AbortController()
        const frames = bench.driver.frames({ signal: stop.signal })
        const expected = Array.from({ length: 5 }, (_, i) => numbered(bench.driver, true, i, 80))
        const first = frames.next()
        await turn()
        for (const frame of expected) bench.deliver(frame)
        const got = [(await first).value as Uint8Array]
        while (got.length < expected.length) got.push((await frames.next()).value as Uint8Array)
        expect(same(got, expected)).toBe(true)
        const waiting = frames.next()
        await turn()
        stop.abort(new Error('enough'))
        await expect(waiting).rejects.toThrow('enough')
        const last = bench.driver.frames().next()
        await turn()
        await bench.driver.close()
        expect(await last).toEqual({ done: true, value: undefined })
      })

      it('§ 5.1.6.2 leaves checksums and segmentation to the device, as far as that was negotiated', async () => {
        const bench = await open()
        const { transmit } = bench.driver.offloads
        const payload = 20_000
        const { frame, header } = segmented(bench.driver, false, payload)
        if (!transmit.tso4) {
          const slot = frame.length <= bench.driver.maxFrameLength ? bench.driver.reserve(frame.length) : -1
          if (slot >= 0) expect(bench.driver.commit(slot, frame.length, header)).toBe(false)
        } else {
          expect(bench.driver.send(frame, header)).toBe(true)
          const pieces: Uint8Array[] = []
          const bytes = (): number => pieces.reduce((sum, piece) => sum + piece.length - 54, 0)
          await until(
            bench.driver,
            polled,
            'segments do not come out',
            () => pieces.push(...bench.sent()) > 0 && bytes() >= payload,
          )
          expect(pieces.length).toBe(20)
          expect(pieces.every(isSound)).toBe(true)
          expect(same([Buffer.concat(pieces.map((piece) => piece.subarray(54)))], [frame.subarray(54)])).toBe(true)
        }
        // Without the feature the driver completes the checksum itself: what comes out is the same.
        const single = segmented(bench.driver, false, 500)
        Object.assign(single.header, { gsoType: NetHeader.GSO_NONE, gsoSize: 0 })
        expect(bench.driver.send(single.frame, single.header)).toBe(true)
        const out: Uint8Array[] = []
        await until(bench.driver, polled, 'the frame does not come out', () => out.push(...bench.sent()) > 0)
        expect(out.map(isSound)).toEqual([true])
      })

      if (options.headers) {
        it('§ 5.1.6.4 takes large packets whole where that was negotiated, and cut where not', async () => {
          const bench = await open()
          const { frame, header } = segmented(bench.driver, true, 30_000)
          const headers: NetHeaderFields[] = []
          const sink = (packet: ReceivedPacket): void => {
            const copy = new NetHeaderFields()
            copy.copyFrom(packet.fields)
            headers.push(copy)
            take(packet)
          }
          const whole = bench.driver.offloads.receive.tso4
          if (!polled) bench.driver.onReceive(() => void bench.driver.receive(sink, BUDGET))
          bench.deliver(frame, header)
          await until(bench.driver, polled, 'the packet does not arrive', () => {
            bench.driver.receive(sink, BUDGET)
            return received.length >= (whole ? 1 : 30)
          })
          if (whole) {
            expect(same(received, [frame])).toBe(true)
            const { hash } = bench.driver
            const reported = hash && {
              hashReport: NetHashReport.TCPV4,
              hashValue: packetHash(frame, NetHashReport.TCPV4, hash.key),
            }
            expect(headers).toEqual([Object.assign(new NetHeaderFields(), header, { hdrLen: 54 }, reported)])
          } else
            expect(same([Buffer.concat(received.map((piece) => piece.subarray(54)))], [frame.subarray(54)])).toBe(true)
        })
      }

      it('§ 5.1.4.2 follows the link, down and up again, in order', async () => {
        const bench = await open()
        if (!bench.setLink || !bench.driver.features.has('STATUS')) return
        const seen: boolean[] = []
        bench.driver.on('link', ({ up }) => seen.push(up))
        for (const up of [false, true, false, true]) {
          await bench.setLink(up)
          await until(
            bench.driver,
            polled,
            `the link does not go ${up ? 'up' : 'down'}`,
            () => bench.driver.link.up === up,
          )
        }
        expect(seen).toEqual([false, true, false, true])
        await roundTrip(bench)
      })

      it('§ 5.1.6.5.4.1 announces itself when asked to, and says so', async () => {
        const bench = await open()
        if (!bench.announce || !bench.driver.features.has('GUEST_ANNOUNCE')) return
        let asked = 0
        const answers: Promise<void>[] = []
        bench.driver.on('announce', () => {
          asked++
          bench.driver.send(numbered(bench.driver, false, asked, 60))
          answers.push(bench.driver.acknowledgeAnnounce())
        })
        for (const time of [1, 2]) {
          await bench.announce()
          await until(bench.driver, polled, 'nobody asked for an announcement', () => asked >= time)
          await Promise.all(answers)
          await until(bench.driver, polled, 'no acknowledgement', async () => !(await bench.announcePending?.()))
        }
        let out = 0
        await until(bench.driver, polled, 'announcements do not come out', () => (out += bench.sent().length) >= asked)
        expect(bench.driver.stats().announcements).toBe(asked)
      })

      it('§ 5.1.6.5.4.1 acknowledges a request to announce that nobody listens for', async () => {
        const bench = await open()
        if (!bench.announce || !bench.announcePending || !bench.driver.features.has('GUEST_ANNOUNCE')) return
        await bench.announce()
        await until(bench.driver, polled, 'no acknowledgement', async () => !(await bench.announcePending?.()))
      })

      it('§ 5.1.6.5 commands work where their feature was negotiated, and are refused here where not', async () => {
        const bench = await open({ vlanFilter: true })
        const { driver } = bench
        const group = Uint8Array.of(1, 0, 0x5e, 0, 0, 1)
        const extra = { allUnicast: true, noMulticast: true, noBroadcast: true, noUnicast: false }
        const table = { unicast: [Uint8Array.from(PEER)], multicast: [group, group] }
        const commands: readonly (readonly [Parameters<typeof driver.features.has>[0], () => Promise<void>])[] = [
          ['CTRL_RX', () => driver.setReceiveMode({ promiscuous: true, allMulticast: true })],
          ['CTRL_RX', () => driver.setReceiveMode({ promiscuous: false, allMulticast: false })],
          ['CTRL_RX_EXTRA', () => driver.setReceiveMode(extra)],
          ['CTRL_RX', () => driver.setMacTable({ unicast: [], multicast: [] })],
          ['CTRL_RX', () => driver.setMacTable(table)],
          ['CTRL_VLAN', () => driver.addVlan(7).then(() => driver.removeVlan(7))],
          ['CTRL_GUEST_OFFLOADS', () => driver.setGuestOffloads({})],
        ]
        for (const [feature, command] of commands) {
          const outcome = await command().then(
            () => 'done',
            (error) => error.code,
          )
          const expected = [driver.features.has(feature) ? 'done' : 'net.unsupported']
          // QEMU offers the command also over back-ends that know no offload, and then refuses it.
          if (feature === 'CTRL_GUEST_OFFLOADS' && !driver.offloads.receive.checksum)
            expected.push('net.control-refused')
          expect(expected).toContain(outcome)
        }
        if (driver.features.has('CTRL_RX_EXTRA'))
          await driver.setReceiveMode({ allUnicast: false, noMulticast: false, noBroadcast: false })
        await roundTrip(bench)
      })

      it('§ 5.1.6.5.2.2 takes another address where the device can be told', async () => {
        const bench = await open()
        const { driver } = bench
        const mac = Uint8Array.of(2, 0, 0, 0, 0, 0x77)
        const can = driver.features.has('CTRL_MAC_ADDR') ? driver.features.has('CTRL_RX') : driver.describe().legacy
        if (can) {
          await driver.setMac(mac)
          expect(formatMac(driver.mac)).toBe(formatMac(mac))
        } else await expect(driver.setMac(mac)).rejects.toMatchObject({ code: 'net.unsupported' })
        await roundTrip(bench)
        await expect(driver.setMac(Uint8Array.of(1, 0, 0, 0, 0, 1))).rejects.toThrow(RangeError)
      })

      it("takes its owner's address from the start", async () => {
        const mac = Uint8Array.of(2, 0, 0, 0, 0, 0x78)
        const bench = await open({ mac })
        expect(formatMac(bench.driver.mac)).toBe(formatMac(mac))
        await roundTrip(bench)
      })

      // Once is enough: the notified and the polled driver negotiate alike.
      if (options.everyFeature && !polled) {
        it('does without any single feature', async () => {
          const probe = await open({ vlanFilter: true })
          const names = probe.driver.features.names.filter(
            (feature) => feature !== 'VERSION_1' && !feature.startsWith('ACCESS'),
          )
          await close(probe)
          for (const feature of names) {
            const bench = await open({ withoutFeatures: [feature] })
            expect(bench.driver.features.names).not.toContain(feature)
            await roundTrip(bench)
            await close(bench)
          }
        })
      }

      it('does without all of them', async () => {
        const probe = await open({ vlanFilter: true })
        const names = probe.driver.features.names.filter(
          (feature) => feature !== 'VERSION_1' && !feature.startsWith('ACCESS'),
        )
        await close(probe)
        const bench = await open({ withoutFeatures: names })
        for (let i = 0; i < 3; i++) await roundTrip(bench)
      })

      it('does no harm once closed', async () => {
        const bench = await open()
        const { driver } = bench
        await roundTrip(bench)
        const slot = driver.reserve(60)
        await driver.close()
        expect(driver.receive(take, BUDGET)).toBe(0)
        expect(driver.armReceive()).toBe(false)
        expect(driver.reserve(60)).toBe(-1)
        expect(driver.commit(slot, 60)).toBe(false)
        driver.publish()
        expect(driver.poll()).toBe(0)
        await expect(driver.setReceiveMode({ promiscuous: true })).rejects.toHaveProperty('code')
        expect(await driver.drain(50)).toBeGreaterThanOrEqual(0)
        await driver.close()
      })
    })
  }
}
