import { runProgram } from '@virtio-ts/command-line'
import { vcon } from './command-line/vcon.ts'

/** The program: reads process.argv, sets process.exitCode. */
export function start(): void {
  runProgram(vcon)
}
