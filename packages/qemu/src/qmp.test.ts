import { afterEach, describe, expect, it } from 'vitest'
import { requirement } from '../../../test/requirements.ts'
import { FakeQmp } from './fake-qmp.fixture.ts'
import { QemuBench } from './qemu-bench.ts'
import { QemuError } from './qemu-error.ts'
import { Qmp } from './qmp.ts'
import { RawVirtio } from './raw-virtio.fixture.ts'

const ends: { close(): unknown }[] = []
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end.close()
})
const connect = (greeting?: unknown): { qemu: FakeQmp; qmp: Qmp } => {
  const qemu = new FakeQmp(greeting)
  const qmp = new Qmp(qemu.fd)
  ends.push(qemu, qmp)
  return { qemu, qmp }
}

describe('the protocol', () => {
  it('greets, negotiates, and matches answers to commands in any order', async () => {
    const { qemu, qmp } = connect()
    await qmp.negotiate()
    expect(qmp.version).toEqual({ major: 7, minor: 2, micro: 1 })
    expect(qemu.commands.map(({ execute }) => execute)).toEqual(['qmp_capabilities'])
    qemu.answer = () => undefined
    const answers = [qmp.execute('first', { x: 1 }), qmp.execute('second')]
    while (qemu.commands.length < 3) await new Promise(setImmediate)
    const [, first, second] = qemu.commands
    expect(first).toMatchObject({ execute: 'first', arguments: { x: 1 } })
    // the bytes of a character apart, and an event in between
    qemu.say({ event: 'STOP', timestamp: {} })
    const text = Buffer.from(`${JSON.stringify({ return: 'zwölf', id: second?.id })}\r\n`)
    qemu.socket.write(text.subarray(0, 14))
    await new Promise(setImmediate)
    qemu.socket.write(text.subarray(14))
    qemu.say({ return: 1, id: first?.id })
    expect(await Promise.all(answers)).toEqual([1, 'zwölf'])
  })

  it('an error becomes a QemuError with what QEMU says', async () => {
    const { qemu, qmp } = connect()
    qemu.answer = ({ id }) => ({ error: { class: 'GenericError', desc: 'no such thing' }, id })
    const error = await qmp.execute('anything').catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(QemuError)
    expect(error).toMatchObject({ code: 'qmp.error', message: expect.stringContaining('no such thing') })
  })

  it('a deadline and a signal end the wait; a late answer is nobody’s', async () => {
    const { qemu, qmp } = connect()
    qemu.answer = () => undefined
    await expect(qmp.execute('slow', {}, { timeout: 20 })).rejects.toMatchObject({ code: 'qmp.timeout' })
    await expect(qmp.next('STOP', undefined, { timeout: 20 })).rejects.toMatchObject({ code: 'qmp.timeout' })
    const abort = new AbortController()
    const aborted = qmp.execute('slow', {}, { signal: abort.signal })
    abort.abort(new Error('never mind'))
    await expect(aborted).rejects.toThrow('never mind')
    await expect(qmp.execute('slow', {}, { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before')
    while (qemu.commands.length < 2) await new Promise(setImmediate)
    for (const { id } of qemu.commands) qemu.say({ return: {}, id })
    qemu.answer = ({ id }) => ({ return: 'mine', id })
    expect(await qmp.execute('quick')).toBe('mine')
  })

  it('events go to their listeners until these are taken off, and to whoever waits for the next', async () => {
    const { qemu, qmp } = connect()
    const seen: unknown[] = []
    const off = qmp.on('BALLOON_CHANGE', ({ actual }) => seen.push(actual))
    const second = qmp.next('BALLOON_CHANGE', ({ actual }) => actual > 1)
    qemu.say({ event: 'BALLOON_CHANGE', data: { actual: 1 } })
    qemu.say({ event: 'BALLOON_CHANGE', data: { actual: 2 } })
    expect(await second).toEqual({ actual: 2 })
    off()
    const third = qmp.next('BALLOON_CHANGE')
    qemu.say({ event: 'BALLOON_CHANGE', data: { actual: 3 } })
    expect(await third).toEqual({ actual: 3 })
    expect(seen).toEqual([1, 2])
  })

  it.each([
    ['what is no JSON', 'hello\n'],
    ['what is no object', '42\n'],
  ])('%s ends the connection', async (_, said) => {
    const { qemu, qmp } = connect()
    await qmp.negotiate()
    qemu.answer = () => undefined
    const waiting = qmp.execute('anything')
    qemu.socket.write(said)
    await expect(waiting).rejects.toMatchObject({ code: 'qemu.protocol' })
    await expect(qmp.execute('anything')).rejects.toMatchObject({ code: 'qemu.protocol' })
  })

  it('end of stream rejects what waits, the greeting too', async () => {
    const { qemu, qmp } = connect(null)
    qemu.close()
    await expect(qmp.negotiate()).rejects.toMatchObject({ code: expect.stringMatching(/^qemu\./) })
    await expect(qmp.next('STOP')).rejects.toBeInstanceOf(QemuError)
  })
})

requirement('qemu')('with a real QEMU', () => {
  const start = async (...devices: string[]): Promise<QemuBench> => {
    const bench = await QemuBench.start({ devices, netdevs: ['user,id=n0'] })
    ends.push(bench)
    return bench
  }

  it('refusals are errors, also those of the human monitor', async () => {
    const { qmp } = await start()
    await expect(qmp.execute('no-such-command')).rejects.toMatchObject({
      code: 'qmp.error',
      message: expect.stringContaining('no-such-command'),
    })
    await expect(qmp.setLink('nobody', true)).rejects.toMatchObject({ code: 'qmp.error' })
    await expect(qmp.deviceAdd('virtio-rng-pci,colour="red \\ blue"')).rejects.toMatchObject({ code: 'qmp.error' })
    await expect(qmp.netdevAdd('nothing,id=n1')).rejects.toMatchObject({ code: 'qmp.error' })
    await expect(qmp.queryRxFilter('nobody')).rejects.toMatchObject({ code: 'qmp.error' })
    await expect(qmp.deviceAdd('virtio-rng-pci\nquit')).rejects.toBeInstanceOf(TypeError)
    expect(qmp.version.major).toBeGreaterThanOrEqual(7)
  })

  it('shows what the device has of the driver', async () => {
    const bench = await start('virtio-net-pci,netdev=n0,id=nic,mac=52:54:00:aa:bb:cc')
    const device = new RawVirtio(bench.function('nic'))
    const before = await bench.qmp.virtioStatus('nic')
    expect(before).toMatchObject({ name: 'virtio-net', 'device-id': 1, 'num-vqs': 3, started: false, broken: false })
    device.begin(1 << 16)
    const queue = device.queue(0)
    device.driverOk()
    const status = await bench.qmp.virtioStatus('nic')
    expect(status.started).toBe(true)
    expect(status.status.statuses.join()).toContain('VIRTIO_CONFIG_S_DRIVER_OK')
    const state = await bench.qmp.virtioQueueStatus('nic', 0)
    expect(state).toMatchObject({ 'queue-index': 0, 'vring-num': 8, 'vring-desc': queue.ring.deviceAddress })
    expect(await bench.qmp.queryRxFilter('nic')).toMatchObject({ promiscuous: true, 'main-mac': '52:54:00:aa:bb:cc' })
    await bench.qmp.announceSelf()
    await bench.qmp.announceSelf(['nic'], 2)
  })

  it('lists functions, those behind bridges too', async () => {
    const bench = await start('pcie-root-port,id=port0,chassis=1', 'virtio-rng-pci,bus=port0,id=rng')
    const functions = await bench.qmp.queryPci()
    expect(functions.find(({ qdev_id }) => qdev_id === 'rng')).toMatchObject({ bus: 1, slot: 0, function: 0 })
    expect(functions.find(({ qdev_id }) => qdev_id === 'port0')).toMatchObject({ bus: 0 })
  })
})
