import { afterEach, describe, expect, it } from 'vitest'
import { FakeQmp } from './fake-qmp.fixture.ts'
import { Qmp } from './qmp.ts'
import { streamsConnected } from './stream-connection.ts'

let qemu: FakeQmp
let qmp: Qmp
afterEach(() => {
  qmp.close()
  qemu.close()
})
/** @param info what `info network` is to say */
const connect = (...info: string[]): void => {
  qemu = new FakeQmp()
  qmp = new Qmp(qemu.fd)
  qemu.answer = ({ id }) => ({ return: `${info.join('\r\n')}\r\n`, id })
}
const NIC = 'nic: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56'
const wait = { timeout: 5_000 }
/** Whether it is done by the time that QEMU has answered, and then some. */
const settled = async (promise: Promise<void>): Promise<boolean> => {
  let done = false
  void promise.then(() => (done = true))
  while (qemu.commands.length === 0) await new Promise(setImmediate)
  await new Promise((resolve) => setTimeout(resolve, 20))
  return done
}
const event = (id: string): object => ({ event: 'NETDEV_STREAM_CONNECTED', data: { 'netdev-id': id, addr: {} } })

describe('streamsConnected', () => {
  it('asks nothing when there is no stream', async () => {
    connect()
    await streamsConnected(qmp, [], wait)
    expect(qemu.commands).toEqual([])
  })

  it('is done at once when all are connected, whatever their events', async () => {
    connect(NIC, ' \\ n0: index=0,type=stream,unix:', 'n.1: index=0,type=stream,unix:')
    expect(await settled(streamsConnected(qmp, ['n0', 'n.1'], wait))).toBe(true)
  })

  it.each(['', 'connecting', 'initializing', 'error: unix'])(
    'waits for the event of one that is not: %j',
    async (state) => {
      connect(NIC, ` \\ n0: index=0,type=stream,${state}`, 'n1: index=0,type=stream,unix:')
      const connected = streamsConnected(qmp, ['n0', 'n1'], wait)
      expect(await settled(connected)).toBe(false)
      qemu.say(event('n1'))
      expect(await settled(connected)).toBe(false)
      qemu.say(event('n0'))
      await connected
    },
  )

  it('sees an event that comes before the answer', async () => {
    connect()
    qemu.answer = ({ id }) => {
      qemu.say(event('n0'))
      return { return: ' \\ n0: index=0,type=stream,\r\n', id }
    }
    await streamsConnected(qmp, ['n0'], wait)
  })

  it('gives up at the deadline, and with the signal', async () => {
    connect('n0: index=0,type=stream,')
    await expect(streamsConnected(qmp, ['n0'], { timeout: 30 })).rejects.toMatchObject({ code: 'qmp.timeout' })
    const signal = AbortSignal.timeout(30)
    await expect(streamsConnected(qmp, ['n0'], { timeout: 5_000, signal })).rejects.toMatchObject({
      name: 'TimeoutError',
    })
  })
})
