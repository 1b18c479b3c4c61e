// @ts-check
// Runs loops for windows of time, in the thread that calls.
import { pinToDriverCpu, ran } from './machine/cores.mjs'

/** @typedef {import('./packet-loop.mjs').PacketLoop} PacketLoop */
/** @typedef {import('./packet-loop.mjs').Mode} Mode */
/** @typedef {import('./machine/windows.mjs').Window} Window */

/** Turns between two looks at the clock, which costs as much as a few packets. */
const TURNS = 64
const WARM_UP = 400

/**
 * Warms up, then measures. The thread is bound to its core from here on.
 * @param {readonly PacketLoop[]} loops one for each queue pair, served in turn @param {Mode} mode
 * @param {{ windows: number, milliseconds: number }} effort
 * @param {() => number} deviceRan milliseconds that the other side's thread has run
 * @returns {Window[]}
 */
export function measureLoops(loops, mode, { windows, milliseconds }, deviceRan) {
  pinToDriverCpu()
  runLoops(loops, mode, WARM_UP)
  return Array.from({ length: windows }, () => {
    const driverBefore = ran(process.pid)
    const deviceBefore = deviceRan()
    const counts = runLoops(loops, mode, milliseconds)
    return { ...counts, driverRan: ran(process.pid) - driverBefore, deviceRan: deviceRan() - deviceBefore }
  })
}

/**
 * @param {readonly PacketLoop[]} loops @param {Mode} mode @param {number} milliseconds at least
 * @param {number} [turns] between two looks at the clock, each of which leaves a few numbers on the heap
 * @returns {{ packets: number, elapsed: number, polls: number, empty: number }} `empty`: polls that moved nothing
 */
export function runLoops(loops, mode, milliseconds, turns = TURNS) {
  let packets = 0
  let polls = 0
  let empty = 0
  let elapsed = 0
  const start = performance.now()
  while (elapsed < milliseconds) {
    for (let turn = 0; turn < turns; turn++) {
      for (let i = 0; i < loops.length; i++) {
        const count = /** @type {PacketLoop} */ (loops[i]).turn(mode)
        packets += count
        polls++
        if (count === 0) empty++
      }
    }
    elapsed = performance.now() - start
  }
  return { packets, elapsed, polls, empty }
}
