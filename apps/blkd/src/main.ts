import { runProgram } from '@virtio-ts/command-line'
import { blkd } from './command-line/blkd.ts'

/** The program: reads process.argv, sets process.exitCode. */
export function start(): void {
  runProgram(blkd)
}
