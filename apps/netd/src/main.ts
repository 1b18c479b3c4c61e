import { runProgram } from '@virtio-ts/command-line'
import { netd } from './command-line/netd.ts'

/** The program: reads process.argv, sets process.exitCode. */
export function start(): void {
  runProgram(netd)
}
