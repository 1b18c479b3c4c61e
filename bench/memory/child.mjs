// @ts-check
// node --expose-gc child.mjs JSON: runs the hot loop, prints how much more of the heap is in use after each of several long runs of it than
// after a short one, and what the device can reach, in bytes.
import { PerformanceObserver } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { NetDriver } from '@virtio-ts/driver-net'
import { memfdDma } from '@virtio-ts/memory/memfd'
import { IdealTransport } from '../ideal/ideal-transport.mjs'
import { pinToDriverCpu } from '../machine/cores.mjs'
import { runLoops } from '../measure-loops.mjs'
import { PacketLoop } from '../packet-loop.mjs'

/** Looks at the clock are no part of the loop. */
const TURNS = 8192
/**
 * Measurements of nothing, before the first that counts. Without a line of the driver running, some 240 kB of V8's own come and go between
 * the first two dozen of them; from then on each leaves two to five.
 */
const SETTLING = 30
const PAIRS = 3

/** @type {{ program: string, ring: string, size: number, milliseconds: number }} */
const { program, ring, size, milliseconds } = JSON.parse(process.argv[2] ?? '')
const dma = memfdDma(16 << 20)
const transport = new IdealTransport(dma, { program, packed: ring === 'packed', mode: 'roundTrip', length: 64 })
const net = await NetDriver.open(transport, { interrupts: 'none', queueSize: size, transmitBuffers: size })
const shared = dma.stats.allocatedBytes
const loops = net.pairs.map((pair) => new PacketLoop(pair, { length: 64 }))
/** Bytes of objects in use, once nothing is left that could go. */
async function inUse() {
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.()
    await sleep(20)
  }
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
}

/** @param {number} duration @returns {Promise<{ growth: number, collected: number }>} */
async function phase(duration) {
  let collected = 0
  const observer = new PerformanceObserver((list) => {
    collected += list.getEntries().length
  })
  const before = await inUse()
  observer.observe({ entryTypes: ['gc'] })
  runLoops(loops, 'roundTrip', duration, TURNS)
  await sleep(50)
  observer.disconnect()
  return { growth: (await inUse()) - before, collected }
}

async function growthAndCollections() {
  pinToDriverCpu()
  // Until everything is compiled: code is on the heap, too.
  for (let i = 0; i < 10; i++) runLoops(loops, 'roundTrip', milliseconds / 10, TURNS)
  for (let i = 0; i < SETTLING; i++) await phase(i % 2)
  /** @type {number[]} */ const growths = []
  /** @type {number[]} */ const collections = []
  for (let i = 0; i < PAIRS; i++) {
    // The measurement itself leaves something, however short it is.
    const short = await phase(1)
    const long = await phase(milliseconds)
    growths.push(long.growth - short.growth)
    collections.push(long.collected)
  }
  return { growths, collections }
}

const found = milliseconds > 0 ? await growthAndCollections() : { growths: [], collections: [] }
console.log(JSON.stringify({ shared, ...found }))
await net.close()
dma.close()
