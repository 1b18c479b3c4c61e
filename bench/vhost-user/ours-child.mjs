// @ts-check
// One run of ours: node ours-child.mjs JSON. Prints its windows and totals as JSON.
import { NetDriver } from '@virtio-ts/driver-net'
import { ran } from '../machine/cores.mjs'
import { measureLoops } from '../measure-loops.mjs'
import { PacketLoop } from '../packet-loop.mjs'
import { openTransport, plain } from './open-transport.mjs'

/** @type {import('./cases.mjs').Case & { windows: number, milliseconds: number, backEnd: { path: string, pid: number, tid: number } }} */
const setup = JSON.parse(process.argv[2] ?? '')
const { ring, mode, length, queues, size, batch, windows, milliseconds, backEnd } = setup
const net = await NetDriver.open(await openTransport(backEnd.path), {
  interrupts: 'none',
  queuePairs: queues,
  queueSize: size,
  transmitBuffers: size,
  withoutFeatures: ring === 'packed' ? plain : [...plain, 'RING_PACKED'],
})
if (net.features.has('RING_PACKED') !== (ring === 'packed')) throw new Error(`the back-end has no ${ring} ring`)
if (net.pairs.length !== queues) throw new Error(`${net.pairs.length} queue pairs, not ${queues}`)
const loops = net.pairs.map((pair) => new PacketLoop(pair, { length, batch }))
const measured = measureLoops(loops, mode, { windows, milliseconds }, () => ran(backEnd.pid, backEnd.tid))
await net.drain()
const { tx_packets: sent, rx_packets: received, rx_dropped: dropped } = net.stats()
if (dropped !== 0) throw new Error(`${dropped} packets received were dropped`)
console.log(JSON.stringify({ windows: measured, totals: { sent, received, slack: size * queues } }))
await net.close()
