// Runs in the guest: drives devices as it is told, a list of jobs at a time, as its argument or as lines of stdin.
import { createInterface } from 'node:readline'
import { NetDriver } from '@virtio-ts/driver-net'
import { RngDriver } from '@virtio-ts/driver-rng'
import { openFdCount } from '@virtio-ts/native'
import { openSysfs } from '@virtio-ts/pci/sysfs'
import { openVfio } from '@virtio-ts/pci/vfio'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'

const GATEWAY = [10, 0, 2, 2]
const US = [10, 0, 2, 15]

const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)
const failure = (error) => ({ name: error.name, code: error.code, message: error.message })

/** Who has the gateway's address? */
function arpRequest(mac) {
  const frame = new Uint8Array(60)
  frame.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...mac, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1])
  frame.set([...mac, ...US, 0, 0, 0, 0, 0, 0, ...GATEWAY], 22)
  return frame
}

const isReply = (frame) =>
  frame[12] === 8 && frame[13] === 6 && frame[21] === 2 && GATEWAY.every((b, i) => frame[28 + i] === b)

/** Asks the gateway for its address, as often as told, each time when the answer before is there. */
async function exchange(net, rounds) {
  const senders = new Set()
  const frames = net.frames({ signal: AbortSignal.timeout(20_000) })
  for (let round = 0; round < rounds; round++) {
    net.send(arpRequest(net.mac))
    for (;;) {
      const { value, done } = await frames.next()
      if (done) throw new Error(`no answer to request ${round}`)
      if (!isReply(value)) continue
      senders.add(Buffer.from(value.subarray(22, 28)).toString('hex'))
      break
    }
  }
  await frames.return()
  return { replies: rounds, from: [...senders] }
}

const warnings = []
const open = ({ bus, address, open: options = {} }) =>
  bus === 'sysfs'
    ? openSysfs(address, { memory: 8 << 20, onWarning: (text) => warnings.push(text), ...options })
    : openVfio(address, { memory: 8 << 20, ...options })

const jobs = {
  async net(job) {
    const fn = await open(job)
    try {
      if (job.reset) await fn.reset()
      const transport = await VirtioPciDriver.attach(fn, job.attach)
      const net = await NetDriver.open(transport, { receiveBuffers: 64, transmitBuffers: 32, ...job.driver })
      const { interrupts, queues } = net.describe()
      const answer = await exchange(net, job.rounds ?? 20)
      const at = fn.dma.stats.allocatedBytes
      const features = net.features.names
      await net.close()
      return { ...answer, interrupts, queues, features, transport: transport.name, memory: at, left: fn.dma.stats }
    } finally {
      await fn.close()
    }
  },
  async rng(job) {
    const fn = await open(job)
    try {
      const rng = await RngDriver.open(await VirtioPciDriver.attach(fn, job.attach), job.driver)
      const bytes = await rng.randomFill(new Uint8Array(job.length ?? 64))
      await rng.close()
      return { distinct: new Set(bytes).size }
    } finally {
      await fn.close()
    }
  },
  /** Opens, and says what it has opened. */
  async open(job) {
    const fn = await open(job)
    try {
      const { bus, address, msixVectors } = fn
      const line = fn.intx() !== undefined
      const bars = [0, 1, 2, 3, 4, 5].flatMap((index) => {
        try {
          const { kind, length } = fn.bar(index)
          return [{ index, kind, length }]
        } catch (error) {
          return error.code === 'pci.no-bar' ? [] : [failure(error)]
        }
      })
      const address0 = job.open?.addressSpace === undefined ? undefined : fn.dma.allocate(64)
      const result = { bus, address, msixVectors, line, bars, deviceAddress: address0?.deviceAddress }
      if (address0) fn.dma.free(address0)
      return result
    } finally {
      await fn.close()
    }
  },
  /** Leaves it open: an open function is no reason for a process to stay. */
  async leave(job) {
    const { bus } = await open(job)
    return { bus }
  },
  async reset(job) {
    const fn = await open(job)
    try {
      await fn.reset()
      return { command: fn.configRead16(4) }
    } finally {
      await fn.close()
    }
  },
  /** Drives until the device is gone, or this process is killed. */
  async stay(job) {
    const fn = await open(job)
    const transport = await VirtioPciDriver.attach(fn, job.attach)
    const net = await NetDriver.open(transport, { receiveBuffers: 64, transmitBuffers: 32 })
    const { interrupts } = net.describe()
    const answer = await exchange(net, 3)
    print({ staying: answer.replies })
    // Traffic for as long as it lasts.
    const timer = setInterval(() => {
      net.send(arpRequest(net.mac))
      if (interrupts === 'none') net.poll()
      net.receive(() => {}, 64)
    }, 2)
    const fault = new Promise((resolve) => net.on('fault', resolve))
    const reason = await new Promise((resolve) => fn.onGone(resolve))
    const driver = await fault
    clearInterval(timer)
    await net.close().catch(() => {})
    await fn.close()
    return { gone: failure(reason), fault: failure(driver) }
  },
}

async function perform(list) {
  const results = []
  for (const job of list) {
    warnings.length = 0
    try {
      const result = await jobs[job.job](job)
      results.push({ ...result, ...(warnings.length > 0 && { warnings: warnings.length }), fds: openFdCount() })
    } catch (error) {
      results.push({ error: failure(error), fds: openFdCount() })
    }
  }
  return results
}

if (process.argv[2] !== undefined) print({ results: await perform(JSON.parse(process.argv[2])) })
else {
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, list } = JSON.parse(line)
    print({ id, results: await perform(list) })
  }
}
