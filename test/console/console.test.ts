import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { ConsoleDriver, type ConsolePort, emergencyWrite } from '@virtio-ts/driver-console'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { type ConsoleMachine, drink, pour, startConsoleMachine, until } from './console-bench.ts'

const MiB = 1024 * 1024

const faces = [
  ['modern', 'virtio-serial-pci,disable-legacy=on', 'auto'],
  ['transitional, by its legacy interface', 'virtio-serial-pci', 'legacy'],
  [
    'legacy without EVENT_IDX and INDIRECT_DESC',
    'virtio-serial-pci,disable-modern=on,event_idx=off,indirect_desc=off',
    'auto',
  ],
  ['packed', 'virtio-serial-pci,disable-legacy=on,packed=on', 'auto'],
] as const

/** One line at a time, there and back. */
async function exchangeLines(console: ConsolePort, peer: Socket): Promise<void> {
  for (let line = 0; line < 50; line++) {
    console.write(`line ${line}`)
    expect(String(await once(peer, 'data'))).toBe(`line ${line}`)
    peer.write(`answer ${line}`)
    expect(String(await once(console, 'data'))).toBe(`answer ${line}`)
  }
}

requirement('qemu')('the console of QEMU', () => {
  let machine: ConsoleMachine
  let driver: ConsoleDriver

  async function open(device: string, wanted: 'auto' | 'legacy' = 'auto'): Promise<void> {
    machine = await startConsoleMachine(device)
    driver = await ConsoleDriver.open(
      await VirtioPciDriver.attach(machine.bench.function('serial'), { interface: wanted }),
    )
  }

  function port(idOrName: number | string): ConsolePort {
    const found = driver.port(idOrName)
    if (!found) throw new Error(`no port ${idOrName}`)
    return found
  }

  afterEach(async () => {
    await driver.close()
    expect(machine.bench.function('serial').dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await machine.close()
  })

  describe.each(faces)('%s', (_name, device, wanted) => {
    beforeEach(() => open(device, wanted))

    it('has a console and two ports with names, and each carries bytes both ways', async () => {
      expect(driver.ports.map(({ id, name, isConsole }) => [id, name, isConsole])).toEqual([
        [0, undefined, true],
        [1, 'org.example.one', false],
        [2, 'org.example.two', false],
      ])
      await Promise.all(
        [0, 1, 2].map(async (id) => {
          const peer = await machine.peer(`c${id}`)
          await until(port(id), 'host-connected', () => port(id).hostConnected)
          // QEMU throws away what its console cannot get rid of at once.
          if (id === 0) return exchangeLines(port(0), peer)
          const [sent, came, answered, back] = await Promise.all([
            pour(port(id), MiB, id),
            drink(peer, MiB),
            pour(peer, MiB, id + 10),
            drink(port(id), MiB),
          ])
          expect(came).toBe(sent)
          expect(back).toBe(answered)
        }),
      )
    })
  })

  it('carries 100 MB in each direction at once, unchanged', async () => {
    await open('virtio-serial-pci,disable-legacy=on')
    const peer = await machine.peer('c1')
    await until(port(1), 'host-connected', () => port(1).hostConnected)
    const length = 100_000_000
    const [sent, came, answered, back] = await Promise.all([
      pour(port(1), length, 1),
      drink(peer, length),
      pour(peer, length, 2),
      drink(port(1), length),
    ])
    expect(came).toBe(sent)
    expect(back).toBe(answered)
    expect(driver.stats()).toMatchObject({ received_bytes: length, transmitted_bytes: length, control_invalid: 0 })
  })

  it('a peer that does not read stops the writer, and gets everything when it reads', async () => {
    await open('virtio-serial-pci,disable-legacy=on')
    const peer = await machine.peer('c2')
    peer.pause()
    await until(port(2), 'host-connected', () => port(2).hostConnected)
    const length = 8 * MiB
    let done = false
    const sent = pour(port(2), length, 3).finally(() => (done = true))
    // What sockets and QEMU hold is less than that by far; give it the time it would need to get through.
    let before = -1
    for (let now = 0; now !== before; await delay(300)) {
      before = now
      now = driver.stats()['transmitted_bytes']!
    }
    expect(done).toBe(false)
    expect(before).toBeLessThan(2 * MiB)
    const came = drink(peer, length)
    expect(await came).toBe(await sent)
  })

  it('data for a port that nobody reads stays outside, and the sender notices', async () => {
    await open('virtio-serial-pci,disable-legacy=on')
    const peer = await machine.peer('c1')
    port(1).open()
    const length = 8 * MiB
    let done = false
    const sent = pour(peer, length, 4).finally(() => (done = true))
    await delay(500)
    expect(done).toBe(false)
    expect(driver.stats()['received_bytes']).toBe(0)
    expect(await drink(port(1), length)).toBe(await sent)
  })

  it('ports are added and removed by QMP while others are in use', async () => {
    await open('virtio-serial-pci,disable-legacy=on')
    const { qmp } = machine.bench
    const [peer0, peer1, peer3] = await Promise.all(['c0', 'c1', 'c3'].map((id) => machine.peer(id)))
    await until(port(1), 'host-connected', () => port(1).hostConnected)
    const traffic = Promise.all([pour(port(1), 16 * MiB, 5), drink(peer1!, 16 * MiB)])
    for (let round = 0; round < 2; round++) {
      const added = new Promise<ConsolePort>((resolve) => driver.on('port-added', resolve))
      await qmp.deviceAdd(`virtserialport,chardev=c3,name=late.${round},id=late,bus=serial.0`)
      const late = await added
      expect(late.name).toBe(`late.${round}`)
      await until(late, 'host-connected', () => late.hostConnected)
      const opened = qmp.next('VSERPORT_CHANGE', ({ id, open }) => id === 'late' && open)
      const came = once(peer3!, 'data')
      late.write(`round ${round}`)
      await opened
      expect(String(await came)).toBe(`round ${round}`)
      peer3!.write(`back ${round}`)
      expect(String(await once(late, 'data'))).toBe(`back ${round}`)
      const removed = new Promise<ConsolePort>((resolve) => driver.on('port-removed', resolve))
      const closed = once(late, 'close')
      const deleted = qmp.next('DEVICE_DELETED', ({ device: id }) => id === 'late')
      await qmp.deviceDel('late')
      await deleted
      expect(await removed).toBe(late)
      await closed
      expect(late.errored).toBeNull()
    }
    const [sent, came] = await traffic
    expect(came).toBe(sent)
    // One with data on its way.
    const two = port(2)
    const peer2 = await machine.peer('c2')
    peer2.pause()
    await until(two, 'host-connected', () => two.hostConnected)
    // Listened to before it happens: both may come before QEMU's answer does.
    const lost = pour(two, 8 * MiB, 6).catch((reason: unknown) => reason)
    const failure = once(two, 'error')
    await delay(300)
    await qmp.deviceDel('p2')
    expect(await lost).toMatchObject({ code: 'console.port-removed' })
    await failure
    expect(driver.ports.map(({ id }) => id)).toEqual([0, 1])
    port(0).write('still here')
    expect(String(await once(peer0!, 'data'))).toBe('still here')
  })

  it('a port that is closed and used again tells QEMU each time', async () => {
    await open('virtio-serial-pci,disable-legacy=on')
    const { qmp } = machine.bench
    const peer = await machine.peer('c1')
    await until(port(1), 'host-connected', () => port(1).hostConnected)
    // QEMU tells of it once a second at most.
    for (let round = 0; round < 2; round++) {
      const opened = qmp.next('VSERPORT_CHANGE', ({ id, open: is }) => id === 'p1' && is)
      const one = port(1)
      const came = once(one, 'data')
      await opened
      peer.write(`${round}`)
      expect(String((await came)[0])).toBe(`${round}`)
      const closed = qmp.next('VSERPORT_CHANGE', ({ id, open: is }) => id === 'p1' && !is)
      one.destroy()
      await closed
    }
    peer.destroy()
    await until(port(1), 'host-disconnected', () => !port(1).hostConnected)
  })

  it('emergency write says a character before initialisation', async () => {
    machine = await startConsoleMachine('virtio-serial-pci,disable-legacy=on')
    const peer = await machine.peer('c0')
    const came = once(peer, 'data')
    const transport = await VirtioPciDriver.attach(machine.bench.function('serial'))
    await emergencyWrite(transport, 0x21)
    expect(String((await came)[0])).toBe('!')
    driver = await ConsoleDriver.open(transport)
    const again = once(peer, 'data')
    await emergencyWrite(transport, 0x3f)
    expect(String((await again)[0])).toBe('?')
  })
})
