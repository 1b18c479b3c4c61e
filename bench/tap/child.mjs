// @ts-check
// A TAP as a Node program uses one: a frame a call of node:fs. In a network namespace of its own: node child.mjs JSON. Prints windows.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readSync, writeSync } from 'node:fs'
import { setBlocking } from '@virtio-ts/native'
import { Tap } from '@virtio-ts/tap'
import { deviceCpu, pinToDriverCpu, ran } from '../machine/cores.mjs'

/** @type {{ mode: 'transmit' | 'receive', length: number, windows: number, milliseconds: number, flood: string }} */
const { mode, length, windows, milliseconds, flood } = JSON.parse(process.argv[2] ?? '')
const tap = Tap.open({ vnetHeader: false })
tap.setUp(true)
const { fd } = /** @type {import('@virtio-ts/tap').TapQueue} */ (tap.queues[0])
// Where nothing is there it waits, rather than throw an EAGAIN that costs four times a frame.
setBlocking(fd, true)
const frame = new Uint8Array(2048)
frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5])
const source = mode === 'receive' ? spawn(flood, [tap.name, String(deviceCpu), String(length)]) : undefined
if (source) await once(source.stdout, 'data')
const one = mode === 'transmit' ? () => writeSync(fd, frame, 0, length) : () => readSync(fd, frame)

/** @param {number} duration */
function run(duration) {
  const before = [ran(process.pid), source ? ran(source.pid ?? 0) : 0]
  const start = performance.now()
  let packets = 0
  let elapsed = 0
  while (elapsed < duration) {
    for (let i = 0; i < 256; i++) if (one() > 0) packets++
    elapsed = performance.now() - start
  }
  const driverRan = ran(process.pid) - /** @type {number} */ (before[0])
  // Without a source the kernel does the other side's work in this thread.
  const deviceRan = source ? ran(source.pid ?? 0) - /** @type {number} */ (before[1]) : elapsed
  return { packets, elapsed, polls: packets, empty: 0, driverRan, deviceRan }
}

pinToDriverCpu()
run(300)
console.log(JSON.stringify(Array.from({ length: windows }, () => run(milliseconds))))
source?.kill('SIGKILL')
tap.close()
