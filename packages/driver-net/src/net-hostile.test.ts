import { dying, type HostileKind, type HostileScript, hostile } from '@virtio-ts/device-models'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { NetEvents, NetOptions } from './index.ts'
import { type ModelBench, type ModelBenchOptions, openModelBench } from '../test-support/net-bench.ts'

const benches: ModelBench[] = []

async function bench(options: ModelBenchOptions = {}): Promise<ModelBench> {
  const opened = await openModelBench(options)
  benches.push(opened)
  return opened
}

afterEach(async () => {
  vi.useRealTimers()
  for (const { driver, fn } of benches.splice(0)) {
    await driver.close().catch(() => {})
    expect(fn.dma.stats.allocatedBytes).toBe(0)
    await fn.close()
  }
})

/** The next fault, by its code. */
function fault({ driver }: ModelBench): Promise<string> {
  return new Promise((resolve) => driver.on('fault', ({ code }) => resolve(code)))
}

const modes: readonly (readonly [string, NetOptions])[] = [
  ['notified', {}],
  ['polled', { interrupts: 'none' }],
]

for (const [mode, options] of modes) {
  describe(`packets of a hostile device, ${mode}`, () => {
    it.each<[HostileKind, number | undefined, string]>([
      ['short-header', undefined, 'rx_dropped_header_short'],
      ['short-header', 0, 'rx_dropped_header_short'],
      ['short-header', 11, 'rx_dropped_header_short'],
      ['runt', 0, 'rx_dropped_frame_short'],
      ['runt', 13, 'rx_dropped_frame_short'],
      ['bad-csum', undefined, 'rx_dropped_checksum_bounds'],
      ['bad-csum', 2, 'rx_dropped_checksum_bounds'],
      ['bad-csum', 65535, 'rx_dropped_checksum_bounds'],
      ['bad-gso', undefined, 'rx_dropped_gso_type'],
      ['bad-gso', 5, 'rx_dropped_gso_type'],
      ['bad-gso', 1, 'rx_dropped_gso_size'],
      ['bad-gso', 0x83, 'rx_dropped_gso_ecn'],
      ['bad-flags', undefined, 'rx_dropped_checksum_rsc'],
      ['length-under', 0, 'rx_dropped_header_short'],
    ])('%s %s is dropped, and the next one comes', async (kind, value, counter) => {
      const profile = hostile({ kind, queue: 0, ...(value !== undefined && { value }) } as HostileScript<HostileKind>)
      const opened = await bench({ profile, options })
      const { model, driver, received, frame, turns } = opened
      model.deliver(frame())
      const good = frame(300)
      model.deliver(good)
      await turns()
      expect(profile.done).toBe(1)
      expect(received).toEqual([good])
      expect(driver.stats()).toMatchObject({ [counter]: 1, rx_dropped: 1, rx_packets: 1 })
    })

    it.each<[HostileKind, number | undefined]>([
      ['bad-flags', 0xf0],
      ['bad-flags', 4],
      ['bad-hdr-len', undefined],
    ])('%s %s goes no further than the header', async (kind, value) => {
      const profile = hostile({ kind, ...(value !== undefined && { value }) })
      const { model, driver, frame } = await bench({ profile, options: { interrupts: 'none' } })
      model.deliver(frame())
      const headers: number[][] = []
      driver.receive((packet) => headers.push([...packet.header]), 1)
      expect(headers).toEqual([new Array(12).fill(0)])
    })

    it.each([
      [false, 0],
      [true, 2],
    ])('a checksum declared valid, trusted: %s', async (trustChecksums, flags) => {
      const profile = hostile({ kind: 'false-data-valid' })
      const { model, driver, frame } = await bench({ profile, options: { interrupts: 'none', trustChecksums } })
      model.deliver(frame())
      const seen: number[] = []
      driver.receive(({ fields }) => seen.push(fields.flags), 1)
      expect(seen).toEqual([flags])
    })

    it.each<[HostileKind, string]>([
      ['num-buffers-0', 'net.num-buffers'],
      ['num-buffers-huge', 'net.num-buffers'],
      ['id-range', 'ring.id-range'],
      ['id-alias', 'ring.id-range'],
      ['not-head', 'ring.not-head'],
      ['duplicate', 'ring.not-head'],
      ['length-over', 'ring.length'],
      ['idx-jump', 'ring.idx-jump'],
    ])('%s ends it, and is told once', async (kind, code) => {
      const profile = hostile({ kind, queue: 0, after: 1 })
      // Fewer than the ring holds: with every descriptor in use any id would be one of a buffer.
      const opened = await bench({ profile, options: { ...options, receiveBuffers: 8 } })
      const { model, driver, received, frame, turns } = opened
      const told = vi.fn<NetEvents['fault']>()
      driver.on('fault', told)
      const good = frame()
      model.deliver(good)
      await turns()
      model.deliver(frame(200))
      await turns()
      model.deliver(frame(300))
      await turns()
      expect(profile.done).toBeGreaterThan(0)
      expect(told).toHaveBeenCalledTimes(1)
      expect(told.mock.calls[0]?.[0].code).toBe(code)
      expect(received[0]).toEqual(good)
      expect(received.length).toBeLessThanOrEqual(3)
      // Nothing works any more, and nothing throws.
      expect(driver.receive(() => {}, 10)).toBe(0)
      expect(driver.reserve(60)).toBe(-1)
      expect(driver.send(good)).toBe(false)
      await expect(driver.setReceiveMode({ promiscuous: true })).rejects.toHaveProperty('code')
    })

    it('the rest of a packet that never comes ends it, after a while', async () => {
      const { model, driver, frame, received, turns } = await bench({
        profile: hostile({ kind: 'fragments-missing' }),
        model: { features: { GUEST_TSO4: true } },
        options: { ...options, watchdog: 20 },
      })
      const code = new Promise((resolve) => driver.on('fault', (reason) => resolve(reason.code)))
      vi.useFakeTimers({ toFake: ['performance'] })
      model.deliver(frame())
      await turns()
      vi.advanceTimersByTime(1500)
      const ended = Promise.race([code, new Promise((resolve) => setTimeout(resolve, 5000, 'nothing'))])
      if (options.interrupts === 'none') await turns(40)
      expect(await ended).toBe('net.fragments-missing')
      expect(received).toEqual([])
    })

    it('a buffer of nothing inside a packet drops it, and the next one comes', async () => {
      const { model, driver, frame, received, turns } = await bench({
        profile: hostile({ kind: 'fragment-empty' }),
        options: { ...options, receiveBufferLength: 256 },
      })
      model.deliver(frame(1000))
      const good = frame(1400)
      model.deliver(good)
      await turns()
      expect(received).toEqual([good])
      expect(driver.stats()).toMatchObject({ rx_dropped_fragment_empty: 1 })
    })

    it('scribbling over what belongs to the driver changes nothing', async () => {
      const { model, driver, frame, received, sent, turns } = await bench({
        profile: hostile([
          { kind: 'scribble-descriptors', queue: 1, times: 3 },
          { kind: 'event-garbage', queue: 1 },
        ]),
        options,
      })
      for (let i = 0; i < 5; i++) driver.send(frame(60 + i))
      model.deliver(frame())
      await turns()
      expect(received.length).toBe(1)
      // Frames whose descriptors the device destroyed itself are its own loss.
      expect(sent.length).toBeGreaterThan(0)
      expect(driver.describe().queues.length).toBe(3)
    })
  })

  describe(`a device that fails, ${mode}`, () => {
    it('asks for a reset while frames are on their way', async () => {
      const opened = await bench({
        profile: hostile({ kind: 'needs-reset', queue: 1, after: 2 }),
        options: { ...options, watchdog: 10 },
      })
      const code = fault(opened)
      for (let i = 0; i < 10; i++) {
        opened.driver.send(opened.frame())
        await opened.turns(5)
      }
      const watched = setInterval(() => void opened.turns(16), 5)
      expect(await code).toBe('device.needs-reset')
      clearInterval(watched)
      expect(opened.driver.reserve(60)).toBe(-1)
      await opened.driver.close()
      expect(opened.fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    })

    it('is pulled out', async () => {
      const opened = await bench({ options })
      const code = fault(opened)
      opened.driver.send(opened.frame())
      opened.fn.unplug()
      expect(await code).toBe('device.gone')
      expect(opened.driver.send(opened.frame())).toBe(false)
      await opened.driver.close()
      expect(opened.fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    })

    it('does not confirm its reset: its memory is never used again', async () => {
      const opened = await bench({
        profile: hostile({ kind: 'reset-never', after: 1 }),
        attach: { resetTimeout: 20 },
        options,
      })
      const { allocatedBytes } = opened.fn.dma.stats
      await expect(opened.driver.close()).rejects.toMatchObject({ code: 'device.reset-timeout' })
      expect(opened.fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: allocatedBytes })
    })

    it('takes frames and never gives them back', async () => {
      const { driver, frame, fn } = await bench({
        profile: hostile({ kind: 'never-complete', queue: 1 }),
        options: { ...options, queueSize: 16, watchdog: 10, transmitTimeout: 50 },
      })
      const told = new Promise((resolve) => driver.on('transmit-timeout', resolve))
      let taken = 0
      while (driver.send(frame())) taken++
      expect(taken).toBe(16)
      const polling = setInterval(() => void driver.poll(), 1)
      expect(await told).toBe(16)
      clearInterval(polling)
      expect(driver.stats()).toMatchObject({ tx_timeouts: 1, tx_in_flight: 16 })
      expect(await driver.drain(20)).toBe(16)
      await driver.close()
      expect(fn.dma.stats.allocatedBytes).toBe(0)
    })
  })
}

describe('a device that dies at any moment of opening', () => {
  it('gives an error with a code, and every byte back', async () => {
    let opened = false
    for (let after = 0; !opened && after < 2000; after += after < 40 ? 1 : 7) {
      const profile = dying({ after })
      const outcome = await openModelBench({ profile }).then(
        async (bench) => {
          await bench.driver.close().catch(() => {})
          return bench.fn.dma.stats
        },
        (error) => error.code,
      )
      opened = typeof outcome === 'object'
      if (opened) expect(outcome).toMatchObject({ allocatedBytes: 0 })
      else expect(outcome).toMatch(/^[a-z]+\.[a-z-]+$/)
    }
    expect(opened).toBe(true)
  })
})

describe('notifications', () => {
  it('that get lost are made up for by the watchdog, in both directions', async () => {
    const { model, driver, frame, received, turns } = await bench({
      profile: hostile([{ kind: 'interrupt-lost' }]),
      options: { queueSize: 8, transmitBuffers: 4, watchdog: 10 },
    })
    await turns()
    const space = new Promise<void>((resolve) => driver.onTransmitSpace(resolve))
    model.deliver(frame())
    await vi.waitFor(() => expect(received.length).toBe(1))
    expect(driver.stats().missed_notifications).toBeGreaterThan(0)
    for (let i = 0; i < 4; i++) driver.reserve(60)
    expect(driver.reserve(60)).toBe(-1)
    driver.cancel(0)
    await space
  })

  it('that the device does not hear are sent again', async () => {
    const { driver, frame, sent } = await bench({
      profile: hostile({ kind: 'deaf', queue: 1, times: 1 }),
      options: { watchdog: 10 },
    })
    expect(driver.send(frame())).toBe(true)
    expect(sent.length).toBe(0)
    await vi.waitFor(() => expect(sent.length).toBe(1))
    expect(driver.stats().notified_again).toBeGreaterThan(0)
  })

  it('for nothing, by the thousand, cost nothing but themselves', async () => {
    const { model, driver, frame, received, turns } = await bench({
      profile: hostile({ kind: 'interrupt-storm', queue: 0, value: 500 }),
    })
    const first = frame()
    model.deliver(first)
    await turns(600)
    model.deliver(first)
    await turns()
    expect(received).toEqual([first, first])
    expect(driver.stats()).toMatchObject({ rx_packets: 2, rx_dropped: 0 })
  })

  it('before the device was ready are no reason to fail', async () => {
    const { model, received, frame, turns } = await bench({ profile: hostile({ kind: 'interrupt-early' }) })
    model.deliver(frame())
    await turns()
    expect(received.length).toBe(1)
  })
})

describe('the control queue of a hostile device', () => {
  it('that never answers: the command times out, and those behind it wait, and give up in turn', async () => {
    const { driver } = await bench({
      profile: hostile({ kind: 'never-complete', queue: 2 }),
      options: { controlTimeout: 40 },
    })
    const first = driver.setReceiveMode({ promiscuous: true })
    const second = driver.setReceiveMode({ promiscuous: false }, { timeout: 60 })
    const third = driver.setReceiveMode({ promiscuous: false }, { signal: AbortSignal.abort(new Error('no')) })
    await expect(third).rejects.toThrow('no')
    await expect(first).rejects.toMatchObject({ code: 'net.control-timeout' })
    await expect(second).rejects.toMatchObject({ code: 'net.control-timeout' })
    // The second one was never sent: its memory was still the first one's.
    expect(driver.stats()).toMatchObject({ control_commands: 1, control_timeouts: 2 })
    const last = driver.acknowledgeAnnounce({ timeout: 60_000 })
    await driver.close()
    await expect(last).rejects.toMatchObject({ code: 'device.closed' })
  })

  it('that never answers, and never lets go: whoever waits is told all the same', async () => {
    const { driver, fn, turns } = await bench({
      profile: hostile([
        { kind: 'never-complete', queue: 2 },
        { kind: 'reset-never', after: 1 },
      ]),
      attach: { resetTimeout: 20 },
    })
    const codes = [driver.setReceiveMode({ promiscuous: true }), driver.setReceiveMode({ promiscuous: true })].map(
      (command) => command.catch((error) => error.code),
    )
    await turns()
    await expect(driver.close()).rejects.toMatchObject({ code: 'device.reset-timeout' })
    expect(await Promise.all(codes)).toEqual(['device.closed', 'device.closed'])
    expect(fn.dma.stats.quarantinedBytes).toBeGreaterThan(0)
  })

  it('that answers too late: the next command goes out with its own memory content', async () => {
    const { driver, model, turns } = await bench({
      profile: hostile({ kind: 'deaf', queue: 2, times: 1 }),
      options: { controlTimeout: 30, watchdog: 0 },
    })
    await expect(driver.setReceiveMode({ promiscuous: true })).rejects.toMatchObject({ code: 'net.control-timeout' })
    const behind = driver.setReceiveMode({ allMulticast: true }, { timeout: 5000 })
    await turns()
    // The device has not looked yet, and what it is going to read is the first command still.
    expect(driver.stats().control_commands).toBe(1)
    model.onNotify(2)
    await behind
    expect(model.receiveFilter).toMatchObject({ promiscuous: true, allMulticast: true })
  })

  it.each([undefined, 1, 2])('that answers %s is said to have refused', async (value) => {
    const { driver } = await bench({ profile: hostile({ kind: 'ack-garbage', ...(value !== undefined && { value }) }) })
    await expect(driver.setReceiveMode({ promiscuous: true })).rejects.toMatchObject({
      code: 'net.control-refused',
      details: { detail: { ack: value ?? 255 } },
    })
    expect(driver.stats()).toMatchObject({ control_refused: 1 })
  })

  it('that refuses the address of the owner fails to open; a random one is only offered', async () => {
    const profile = (): ReturnType<typeof hostile> => hostile({ kind: 'ack-garbage' })
    await expect(
      openModelBench({ profile: profile(), options: { mac: Uint8Array.of(2, 0, 0, 0, 0, 1) } }),
    ).rejects.toMatchObject({ code: 'net.control-refused' })
    const { driver } = await bench({ profile: profile(), model: { features: { MAC: false } } })
    expect((driver.mac[0] ?? 0) & 3).toBe(2)
  })
})

describe('a configuration that is not what it was', () => {
  it.each([
    [67, false],
    [68, true],
    [0, false],
  ])('an MTU of %d is used: %s', async (mtu, used) => {
    const { driver } = await bench({ model: { mtu } })
    expect(driver.features.has('MTU')).toBe(used)
    expect(driver.mtu).toBe(used ? mtu : 1500)
  })

  it.each(['00:00:00:00:00:00', '01:00:5e:00:00:01'])('the address %s is not taken', async (mac) => {
    const { driver } = await bench({ model: { mac } })
    expect(driver.features.has('MAC')).toBe(false)
    expect((driver.mac[0] ?? 0) & 3).toBe(2)
  })

  it('an MTU that changes later is told once, and does not count', async () => {
    const { driver, model, turns } = await bench()
    const told = vi.fn<NetEvents['config-invalid']>()
    driver.on('config-invalid', told)
    for (const mtu of [40, 40, 9000]) {
      model.setMtu(mtu)
      await turns()
    }
    expect(told.mock.calls.map(([what]) => what)).toEqual([
      { field: 'mtu', value: 40 },
      { field: 'mtu', value: 9000 },
    ])
    expect(driver.mtu).toBe(1500)
    expect(driver.stats()).toMatchObject({ config_invalid: 2 })
  })

  it('one that turns into zeros is told once, and the last good values stay', async () => {
    const { driver, model, turns } = await bench({
      profile: hostile({ kind: 'config-garbage', after: 100, value: 0 }),
      options: { watchdog: 0 },
    })
    const told = vi.fn<NetEvents['config-invalid']>()
    driver.on('config-invalid', told)
    for (let i = 0; i < 30; i++) {
      model.setSpeed(20_000 + i, 1)
      await turns(5)
    }
    expect(told.mock.calls).toEqual([[{ field: 'mac', value: '00:00:00:00:00:00' }]])
    expect(driver.mtu).toBe(1500)
    expect(driver.mac).not.toEqual(new Uint8Array(6))
  })

  it('a generation that never stands still is told of, and is no reason to fail', async () => {
    const { driver, model, turns } = await bench({ profile: hostile({ kind: 'generation-storm', after: 40 }) })
    const told = vi.fn<NetEvents['config-invalid']>()
    driver.on('config-invalid', told)
    for (let i = 0; i < 20; i++) {
      model.setSpeed(1000 + i, 1)
      await turns()
    }
    expect(told.mock.calls[0]?.[0]).toEqual({ field: 'space', value: 'config.unstable' })
    expect(driver.send(new Uint8Array(60))).toBe(true)
  })
})
