// @ts-check
// One run of ours, in a process of its own: node ours.mjs JSON. Prints its windows as JSON.
import { NetDriver } from '@virtio-ts/driver-net'
import { memfdDma } from '@virtio-ts/memory/memfd'
import { ran } from '../machine/cores.mjs'
import { measureLoops } from '../measure-loops.mjs'
import { PacketLoop } from '../packet-loop.mjs'
import { IdealTransport } from './ideal-transport.mjs'

/** @type {import('../ideal.mjs').Setup} */
const setup = JSON.parse(process.argv[2] ?? '')
const { program, packed, mode, size, batch, length, windows, milliseconds } = setup
const dma = memfdDma(8 << 20)
const transport = new IdealTransport(dma, { program, packed, mode, length })
const net = await NetDriver.open(transport, { interrupts: 'none', queueSize: size, transmitBuffers: size })
const loops = net.pairs.map((pair) => new PacketLoop(pair, { length, batch }))
const { pid } = transport
console.log(JSON.stringify(measureLoops(loops, mode, { windows, milliseconds }, () => ran(pid))))
const { rx_dropped: received, tx_dropped: sent } = net.stats()
if (received !== 0 || sent !== 0) throw new Error(`dropped ${received} packets received and ${sent} to be sent`)
await net.close()
dma.close()
